"""What a first run lacks: found, said with the next step, and never in the way of Label Studio's own calls."""

import base64
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from sam_backend.diagnostics.label_studio_checks import Check, check_label_studio
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.settings import Settings
from sam_model.weights.errors import WeightsUnavailableError
from sam_testing.backend_program import BackendProgram, environment
from sam_testing.fake_label_studio import TOKEN, Store, fake_label_studio
from sam_testing.label_studio import setup_request
from sam_testing.service import SamService

VERSION = "disc-1"


def looked(url: str | None, token: str | None, *, is_connected: bool = False) -> list[Check]:
    return check_label_studio(LabelStudioCredentials(url, token), VERSION, is_connected)


def personal_token(ends: float) -> str:
    parts = [{"alg": "HS256"}, {"exp": ends}]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, "c2lnbmF0dXJl"])


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server that takes every call and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        port: int = server.getsockname()[1]
        yield port


def test_without_an_address_both_ways_to_give_one_are_named() -> None:
    (check,) = looked(None, None)

    assert not check.ok
    assert "LABEL_STUDIO_URL" in check.next_step
    assert "Settings > Model > Connect Model" in check.next_step


def test_nobody_at_the_address() -> None:
    (check,) = looked("http://127.0.0.1:1", None)

    assert check.problem == (
        "http://127.0.0.1:1 cannot be used: GET /api/version: Label Studio cannot be reached (Connection refused)"
    )
    assert "LABEL_STUDIO_URL" in check.next_step


def test_the_address_of_something_else() -> None:
    class Shop(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", "https://shop.example/login?secret=1")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Shop) as shop:
        thread = Thread(target=shop.handle_request)
        thread.start()
        (check,) = looked(f"http://127.0.0.1:{shop.server_port}", TOKEN)
        thread.join()

    assert "answered 302: redirect to https://shop.example/login" in check.problem
    assert "secret" not in check.problem


def test_a_label_studio_that_is_too_old() -> None:
    with fake_label_studio(Store(release="1.12.1")) as url:
        (check,) = looked(url, TOKEN)

    assert "Label Studio 1.12.1 is too old; needed: 1.20.0 or newer" in check.problem
    assert check.next_step.startswith("upgrade Label Studio")


@pytest.mark.parametrize(
    ("token", "problem"),
    [
        (None, "no token of Label Studio is known"),
        ("f" * 40, "Label Studio refuses the legacy token from LABEL_STUDIO_API_KEY; legacy tokens are refused unless"),
    ],
)
def test_a_token_that_is_missing_or_refused(token: str | None, problem: str) -> None:
    with fake_label_studio(Store()) as url:
        address, check = looked(url, token)

    assert address.ok
    assert address.found == f"1.23.2 at {url}"
    assert check.problem.startswith(problem)
    assert "Account & Settings" in check.next_step
    assert "LABEL_STUDIO_API_KEY" in check.next_step


def test_an_outlived_token_tells_its_day_and_is_not_shown() -> None:
    token = personal_token(time.time() - 400 * 86400)

    words = LabelStudioCredentials("http://localhost:8080", token).describe_token()

    assert words is not None
    assert words.startswith("the personal access token from LABEL_STUDIO_API_KEY (valid until 20")
    assert token not in words
    assert LabelStudioCredentials("http://localhost:8080", personal_token(4e9)).describe_token() == (
        "the personal access token from LABEL_STUDIO_API_KEY"
    )


def test_a_project_that_is_not_connected_not_reached_or_connected() -> None:
    store = Store(models=[])
    entry = {"id": 3, "title": "SAM", "url": "http://localhost:9090", "state": "DI", "model_version": None}
    with fake_label_studio(store) as url:
        *_, nobody = looked(url, TOKEN)
        store.models = [entry]
        *_, unreached = looked(url, TOKEN)
        store.models = [entry | {"state": "CO", "model_version": "another-model"}]
        *_, foreign = looked(url, TOKEN)
        store.models = [entry, entry | {"state": "CO", "model_version": f"{VERSION}+yolov8n"}]
        *_, connected = looked(url, TOKEN)
        *_, introduced = looked(url, TOKEN, is_connected=True)

    assert nobody.problem == foreign.problem == "no project of Label Studio is connected with this backend"
    assert "label-studio-sam connect --project" in nobody.next_step
    assert unreached.problem == "Label Studio does not reach the model of project 1 at http://localhost:9090"
    assert "the container's name" in unreached.next_step
    assert connected.found == "connected: project 1 at http://localhost:9090"
    assert introduced.ok


def test_the_status_names_a_model_without_weights_and_no_folder() -> None:
    def load(_: object) -> None:
        raise WeightsUnavailableError("sam_b_01ec64.pth is not here")

    service = SamService(Settings(model="sam_b"), load=load)  # type: ignore[arg-type]
    service.model.start()
    while service.model.state == "loading":
        time.sleep(0.01)

    checks = service.client.get("/api/status").get_json()["checks"]

    assert checks[0]["name"] == "Model"
    assert checks[0]["problem"] == "disc has no weights: sam_vit_b_01ec64.pth is missing, and no click is answered"
    assert "label-studio-sam weights download sam_b" in checks[0]["next_step"]
    assert "/.cache" not in json.dumps(checks)


def test_a_project_that_introduces_itself_is_known_at_once() -> None:
    def of_project() -> list[bool]:
        checks = service.client.get("/api/status").get_json()["checks"]
        return [check["ok"] for check in checks if check["name"] == "Project"]

    with fake_label_studio(Store(models=[])) as url:
        service = SamService(Settings(label_studio_url=url, label_studio_api_key=TOKEN))
        while not of_project():
            time.sleep(0.02)
        assert of_project() == [False]
        service.client.post("/setup", json=setup_request())

        assert of_project() == [True], "the last look is some seconds younger than LOOK_AGAIN_S"


def test_health_setup_and_status_do_not_wait_for_a_label_studio_that_hangs(silent_port: int) -> None:
    service = SamService(Settings(label_studio_url=f"http://127.0.0.1:{silent_port}", label_studio_api_key=TOKEN))
    service.parts.health_monitor.start()
    began = time.monotonic()
    service.client.get("/health")
    service.client.post("/setup", json=setup_request())
    status = service.client.get("/api/status").get_json()

    assert time.monotonic() - began < 2, "a look takes 5 s here"
    assert status["checks"][0]["name"] == "Model"


def test_the_log_of_a_first_start_says_what_is_missing_once(tmp_path: Path) -> None:
    program = BackendProgram(tmp_path / "log", SAM_RUNS_DIR=str(tmp_path / "runs"))
    try:
        program.wait_until(lambda: "Label Studio's address is not known. Next: start the backend with" in program.log)
        (check,) = [one for one in program.ask("/api/status")[1]["checks"] if one["name"] == "Label Studio"]
        assert check["problem"] == "Label Studio's address is not known"
    finally:
        program.stop()
    assert program.log.count("address is not known") == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"SAM_DEVICE": "cuda:77"}, "SAM_DEVICE: device 'cuda:77' is not available"),
        ({"SAM_RUNS_DIR": "/proc/nowhere"}, "SAM_RUNS_DIR=/proc/nowhere cannot be written by user"),
    ],
)
@pytest.mark.parametrize("command", ["serve", "doctor"])
def test_what_makes_the_service_useless_ends_it_in_one_line(command: str, settings: dict[str, str], words: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "sam_backend.commands.main", command],
        env=environment(**settings), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert words in line
    assert "set" in line or "takes" in line


def test_the_doctor_ends_with_1_and_the_next_step(tmp_path: Path) -> None:
    store = Store(models=[])
    asked = [sys.executable, "-m", "sam_backend.commands.main", "doctor"]
    with fake_label_studio(store) as url:
        settings = {"LABEL_STUDIO_URL": url, "LABEL_STUDIO_API_KEY": TOKEN, "SAM_RUNS_DIR": str(tmp_path)}
        sick = subprocess.run(
            asked, env=environment(**settings), capture_output=True, text=True, timeout=60, check=False
        )
        version = sick.stdout.split("Model: ")[1].split(",")[0]
        store.models = [{"id": 1, "url": "http://sam:9090", "state": "CO", "model_version": version}]
        well = subprocess.run(
            [*asked, "--json"], env=environment(**settings), capture_output=True, text=True, timeout=60, check=False
        )

    assert sick.returncode == 1
    assert "missing  Project: no project of Label Studio is connected with this backend" in sick.stdout
    assert "         next: run `label-studio-sam connect" in sick.stdout
    assert TOKEN not in sick.stdout + sick.stderr
    assert well.returncode == 0, well.stderr
    assert [check["ok"] for check in json.loads(well.stdout)["checks"]] == [True] * 5
