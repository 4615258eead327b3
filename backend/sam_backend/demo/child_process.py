"""Child processes that end with this process."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import urllib3

STOP_TIMEOUT_S = 10.0
POLL_S = 0.25


class ProgramFailedError(Exception):
    """A program ended or did not answer in time; the message ends with the last lines of its log."""


class ChildProcess:
    """A program in its own process group, with its output in a log file; it is stopped with its child processes."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603  # our own command, no shell
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches only us, and we stop it in order
            )

    def __enter__(self) -> "ChildProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        """Return whether it has not ended."""
        return self._process.poll() is None

    def wait_for(self, url: str, timeout_s: float, still_waiting: Callable[[float], None]) -> None:
        """Wait until GET `url` is answered with 200; `still_waiting` is told the seconds waited so far.

        Raises:
            ProgramFailedError: it ended, or the time is over.
        """
        http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(2.0))
        start = time.monotonic()
        while (waited_s := time.monotonic() - start) < timeout_s:
            if not self.is_running:
                raise ProgramFailedError(f"{self.name} ended with code {self._process.returncode}\n{self.last_words()}")
            with suppress(urllib3.exceptions.HTTPError):
                if http.request("GET", url, redirect=False).status == 200:
                    return
            still_waiting(waited_s)
            time.sleep(POLL_S)
        raise ProgramFailedError(f"{self.name} did not answer {url} within {timeout_s:g} s\n{self.last_words()}")

    def last_words(self, lines: int = 20) -> str:
        """The end of its log."""
        text = self.log.read_text("utf-8", "replace").splitlines()
        return "\n".join([f"the end of {self.log}:", *(f"    {line}" for line in text[-lines:])])

    def stop(self) -> None:
        """End it and all that it started: asked politely first."""
        self._signal_group(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_TIMEOUT_S)
        self._signal_group(signal.SIGKILL)  # all processes of the group that still run
        self._process.wait()

    def _signal_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):  # macOS says EPERM for a group of zombies
            os.killpg(self._process.pid, number)


def free_port(wanted: int) -> int:
    """`wanted`, or the next port above it that nobody on this machine listens on; 0 leaves the choice to the system.

    Raises:
        OSError: none of a hundred is free.
    """
    for port in range(wanted, wanted + 100) if wanted else [0]:
        chosen = _bindable(socket.AF_INET, "127.0.0.1", port)
        # a browser may try ::1 first for localhost, and would find a stranger there
        if chosen is not None and (not _has_ipv6() or _bindable(socket.AF_INET6, "::1", chosen) is not None):
            return chosen
    raise OSError(f"no port from {wanted} to {wanted + 99} is free")


def _bindable(family: socket.AddressFamily, host: str, port: int) -> int | None:
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of the last run may linger
        try:
            probe.bind((host, port))
        except OSError:
            return None
        return int(probe.getsockname()[1])


def _has_ipv6() -> bool:
    return socket.has_ipv6 and _bindable(socket.AF_INET6, "::1", 0) is not None
