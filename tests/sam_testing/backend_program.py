"""`label-studio-sam serve` as a separate process."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sam_backend.demo.child_process import free_port

COMMAND = [sys.executable, "-m", "sam_backend.commands.main"]


def environment(**changes: str) -> dict[str, str]:
    """Return the process's environment without this product's settings, but with its folder of converted networks; the
    classical models need no weights.
    """
    ours = ("SAM_", "LABEL_STUDIO_")
    kept = {
        name: value for name, value in os.environ.items() if name == "SAM_CONVERTED_DIR" or not name.startswith(ours)
    }
    return {**kept, "SAM_MODEL": "classical", "SAM_OFFLINE": "1", **changes}


class BackendProgram:
    """A `serve` process that can be stopped and started again with the same settings."""

    def __init__(self, log: Path, command: Sequence[str] = COMMAND, **settings: str) -> None:
        self.port, self._log, self._settings, self._command = free_port(0), log, settings, command
        self.start()

    def start(self) -> None:
        """Start the process and wait until it answers."""
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(
                [*self._command, "serve", "--port", str(self.port)], env=environment(**self._settings), stderr=output
            )
        try:
            self.wait_until(self._answers, 30)
        except BaseException:
            self.stop()
            raise

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log
        try:
            return self.ask("/health")[0] in (200, 401)
        except OSError:
            return False

    @property
    def log(self) -> str:
        return self._log.read_text()

    def ask(self, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        """Send GET, or POST if there is a body; return status and JSON."""
        data = None if body is None else json.dumps(body).encode()
        asked = {
            "Content-Type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, asked)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def wait_until(self, is_so: Callable[[], bool], timeout_s: float = 60) -> None:
        end = time.monotonic() + timeout_s
        while not is_so():
            assert time.monotonic() < end, self.log[-4000:]
            time.sleep(0.05)

    def wait_for(self, run_id: str, *states: str, timeout_s: float = 60) -> dict[str, Any]:
        """Wait until the run is in one of the states; return it."""
        found: dict[str, Any] = {}

        def is_there() -> bool:
            found.update(self.ask(f"/api/runs/{run_id}")[1]["run"])
            return found["state"] in states

        self.wait_until(is_there, timeout_s)
        return found

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(40)
