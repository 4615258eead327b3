"""The real program: `label-studio-sam serve` on gunicorn, asked over HTTP."""

import base64
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sam_testing.backend_program import BackendProgram, environment
from sam_testing.label_studio import key_point, predict_request, setup_request
from sam_testing.seeded_checkpoints import write_seeded_checkpoint
from sam_testing.service import png_image

COMMAND = [sys.executable, "-m", "sam_backend.commands.main", "serve"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def ask(port: int, path: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


class Server:
    def __init__(self, port: int) -> None:
        self.port = port
        self.process = subprocess.Popen([*COMMAND, "--port", str(port)], env=environment(), stderr=subprocess.PIPE)
        for _ in range(600):
            try:
                ask(port, "/health")
                return
            except OSError:
                assert self.process.poll() is None
                time.sleep(0.05)
        raise AssertionError("the server did not come up within 30 s")

    def stop(self) -> str:
        self.process.send_signal(signal.SIGTERM)
        _, log = self.process.communicate(timeout=40)
        return log.decode()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server(free_port())
    yield running
    if running.process.poll() is None:
        running.stop()


def inline_picture() -> dict[str, str]:
    return {"image": "data:image/png;base64," + base64.b64encode(png_image(60, 40)).decode()}


def test_a_click_is_answered_without_any_setup_and_again_after_a_restart(server: Server) -> None:
    click = predict_request([key_point(50, 50, original_width=60, original_height=40)], data=inline_picture())

    before = ask(server.port, "/predict", click)
    server.stop()
    restarted = Server(server.port)
    after = ask(restarted.port, "/predict", click)
    restarted.stop()

    assert before["results"][0]["result"]
    assert before == after


def test_health_and_setup_name_the_classical_segmenter_as_what_it_is(server: Server) -> None:
    health = ask(server.port, "/health")
    setup = ask(server.port, "/setup", setup_request())

    assert health["model"] == "classical"
    assert "not SAM" in health["note"]
    assert setup["model_version"] == health["model_version"]
    assert setup["model_version"].startswith("classical-")


def test_sigterm_ends_the_server_quietly_and_its_log_says_that_it_is_no_sam(server: Server) -> None:
    log = server.stop()

    assert server.process.returncode == 0
    assert "no SAM weights: the classical segmenter (superpixels and GrabCut) answers clicks" in log
    assert "Traceback" not in log


def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], env=environment(**changes), capture_output=True, text=True, timeout=60, check=False
    )


def test_a_port_in_use_is_one_error_line() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        done = run("--port", str(port))

    assert done.returncode == 1
    assert f"port {port} is used by another program" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"SAM_FETCH_TIMEOUT_S": "soon"}, "SAM_FETCH_TIMEOUT_S='soon' is not a number"),
        ({"SAM_MODEL": "no-such-model"}, "SAM_MODEL='no-such-model'"),
    ],
)
def test_a_bad_setting_stops_the_start_in_one_line(changes: dict[str, str], complaint: str) -> None:
    done = run("--port", str(free_port()), **changes)

    assert done.returncode == 2
    assert complaint in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_stop_while_a_picture_is_being_embedded_ends_well(tmp_path: Path) -> None:
    """PyTorch's threads must not turn the end into SIGABRT."""
    weights = write_seeded_checkpoint(tmp_path / "seeded.pt")
    program = BackendProgram(tmp_path / "log", SAM_RUNS_DIR=str(tmp_path / "runs"), SAM_MODEL=str(weights))
    try:
        program.wait_until(lambda: program.ask("/ready")[0] == 200)
        assert program.ask("/predict", predict_request(data=inline_picture()))[1] == {"results": [[]]}
        time.sleep(0.3)
    finally:
        program.stop()

    assert program.process.returncode == 0
    assert "embed" not in program.log, "it was embedding still"
    assert "SIGABRT" not in program.log
    assert "terminate called" not in program.log


def test_a_broken_request_forges_no_line_of_the_log(tmp_path: Path) -> None:
    backend = BackendProgram(tmp_path / "log", SAM_LOG_LEVEL="INFO")
    try:
        for request in (
            b"GET /a\x1b[2J\rb HTTP/1.1\r\nHost: x\r\nA\x1b[2J\n2026 INFO forged: x\r\n\r\n",
            b"GET /%0a2026%20INFO%20forged%1b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        ):
            with socket.create_connection(("127.0.0.1", backend.port), timeout=10) as client:
                client.sendall(request)
                while client.recv(4096):
                    pass
        backend.ask("/webhook", {"action": "x\n2026 INFO forged: \x1b[2J"})
    finally:
        backend.stop()

    assert "forged" in backend.log
    assert "\x1b" not in backend.log
    assert not [line for line in backend.log.split("\n") if line.startswith("2026 INFO forged")]


def test_foreign_hosts_and_pages_are_refused_on_the_wire(tmp_path: Path) -> None:
    backend = BackendProgram(tmp_path / "log", SAM_RUNS_DIR=str(tmp_path / "runs"))
    event = b'{"action": "ANNOTATION_CREATED"}'

    def status(*headers: bytes) -> bytes:
        lines = [b"POST /webhook HTTP/1.1", b"Connection: close", b"Content-Length: %d" % len(event), *headers]
        with socket.create_connection(("127.0.0.1", backend.port), timeout=20) as client:
            client.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + event)
            return client.recv(4096).split(b" ")[1]

    json_body = b"Content-Type: application/json"
    try:
        assert status(b"Host: localhost", json_body) == b"201"
        assert status(b"Host: evil.example", json_body) == b"421"
        assert status(b"Host: localhost", b"Host: evil.example", json_body) == b"400"
        assert status(b"Host: localhost", b"Origin: http://evil.example", json_body) == b"403"
        assert status(b"Host: localhost", b"Sec-Fetch-Site: same-site", json_body) == b"403"
        assert status(b"Host: localhost", b"Content-Type: text/plain") == b"415"
    finally:
        backend.stop()
