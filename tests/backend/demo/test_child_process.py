import os
import socket
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from sam_backend.demo.child_process import ChildProcess, ProgramFailedError, free_port

# a program that starts another one and neither of them ends by itself; both ids go to standard output
PARENT_AND_CHILD = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""
IGNORES_SIGTERM = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
)


def start(program: str, log: Path) -> ChildProcess:
    return ChildProcess("the program", [sys.executable, "-c", program], dict(os.environ), log)


def first_words(log: Path) -> list[int]:
    for _ in range(1000):
        if log.exists() and log.read_text().endswith("\n"):
            return [int(word) for word in log.read_text().split()]
        time.sleep(0.02)
    raise AssertionError("the program said nothing")


def is_alive(process_id: int) -> bool:
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc").exists(), reason="reads /proc to see what runs")
def test_stopping_a_program_stops_what_it_started(tmp_path: Path) -> None:
    with start(PARENT_AND_CHILD, tmp_path / "log") as program:
        parent, child = first_words(tmp_path / "log")
        assert is_alive(parent)
        assert is_alive(child)

    assert not program.is_running
    for _ in range(250):  # the second one is not ours to wait for
        if not is_alive(child):
            break
        time.sleep(0.02)
    assert not is_alive(parent)
    assert not is_alive(child)


def test_a_program_that_ignores_the_polite_way_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sam_backend.demo.child_process.STOP_TIMEOUT_S", 0.2)

    with start(IGNORES_SIGTERM, tmp_path / "log") as program:
        first_words(tmp_path / "log")

    assert not program.is_running


def test_a_program_that_ends_is_reported_with_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "log"

    with (
        start("import sys; print('no such table'); sys.exit(3)", log) as program,
        pytest.raises(ProgramFailedError, match=r"(?s)the program ended with code 3.*no such table"),
    ):
        program.wait_for("http://127.0.0.1:9/health", 30, lambda waited_s: None)


def test_a_program_that_stays_silent_is_reported(tmp_path: Path) -> None:
    waits: list[float] = []

    with (
        start("import time; time.sleep(600)", tmp_path / "log") as program,
        pytest.raises(ProgramFailedError, match=r"did not answer http://127\.0\.0\.1:9/health within 0\.4 s"),
    ):
        program.wait_for("http://127.0.0.1:9/health", 0.4, waits.append)

    assert waits


def test_a_port_that_is_taken_is_passed_over() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]

        assert port < free_port(port) < port + 100


def test_a_port_that_is_free_is_kept() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as was_free:
        port = was_free.getsockname()[1]

    assert free_port(port) == port
