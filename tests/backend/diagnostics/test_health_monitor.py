"""Health checks: every problem with its next step, and no request waits for a check."""

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

from sam_backend.diagnostics.health_monitor import check_model
from sam_backend.diagnostics.label_studio_checks import Check, check_label_studio
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.runs.run_store import RunStore
from sam_backend.segmenter.choice import choose_model
from sam_backend.segmenter.loading import ModelLoading
from sam_backend.settings import Settings
from sam_model.weights.catalog import find_weights
from sam_model.weights.errors import WeightsUnavailableError
from sam_model.weights.store import WeightStore
from sam_testing.backend_program import BackendProgram, environment
from sam_testing.fake_label_studio import TOKEN, Store, fake_label_studio
from sam_testing.label_studio import BRUSH_CONFIG, setup_request
from sam_testing.service import SamService
from sam_testing.waiting import wait_until

VERSION = "disc-1"
NOTHING_OPENED = "an opened task gets no predictions, and Retrieve Predictions needs two or more tasks"


def checked(url: str | None, token: str | None, *, is_connected: bool = False) -> list[Check]:
    return check_label_studio(LabelStudioCredentials(url, token), VERSION, is_connected)


def personal_token(ends: float) -> str:
    parts = [{"alg": "HS256"}, {"exp": ends}]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, "c2lnbmF0dXJl"])


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server that accepts every connection and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        port: int = server.getsockname()[1]
        yield port


def test_without_an_address_both_ways_to_give_one_are_named() -> None:
    (check,) = checked(None, None)

    assert not check.ok
    assert "LABEL_STUDIO_URL" in check.next_step
    assert "Settings > Model > Connect Model" in check.next_step


def test_an_address_without_a_server() -> None:
    (check,) = checked("http://127.0.0.1:1", None)

    assert check.problem == (
        "could not use http://127.0.0.1:1: GET /api/version: Label Studio cannot be reached (Connection refused)"
    )
    assert "LABEL_STUDIO_URL" in check.next_step


def test_an_address_of_another_program() -> None:
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
        (check,) = checked(f"http://127.0.0.1:{shop.server_port}", TOKEN)
        thread.join()

    assert "answered 302: redirect to https://shop.example/login" in check.problem
    assert "secret" not in check.problem


def test_a_label_studio_that_is_too_old() -> None:
    with fake_label_studio(Store(release="1.12.1")) as url:
        (check,) = checked(url, TOKEN)

    assert "Label Studio 1.12.1 is too old; needed: 1.20.0 or newer" in check.problem
    assert check.next_step.startswith("upgrade Label Studio")


@pytest.mark.parametrize(
    ("token", "problem"),
    [
        (None, "no token of Label Studio is known"),
        (
            "f" * 40,
            "Label Studio refuses the legacy token from LABEL_STUDIO_API_KEY; Label Studio accepts",
        ),
    ],
)
def test_a_token_that_is_missing_or_refused(token: str | None, problem: str) -> None:
    with fake_label_studio(Store()) as url:
        address, check = checked(url, token)

    assert address.ok
    assert address.found == f"1.23.2 at {url}"
    assert check.problem.startswith(problem)
    assert "Account & Settings" in check.next_step
    assert "LABEL_STUDIO_API_KEY" in check.next_step


def test_an_expired_token_is_described_with_its_date_and_not_shown() -> None:
    token = personal_token(time.time() - 400 * 86400)

    words = LabelStudioCredentials("http://localhost:8080", token).describe_token()

    assert words is not None
    assert words.startswith("the personal access token from LABEL_STUDIO_API_KEY (expired on 20")
    assert token not in words
    assert LabelStudioCredentials("http://localhost:8080", personal_token(4e9)).describe_token() == (
        "the personal access token from LABEL_STUDIO_API_KEY"
    )


def test_a_project_that_is_not_connected_not_reached_or_connected() -> None:
    store = Store(models=[])
    entry = {"id": 3, "title": "SAM", "url": "http://localhost:9090", "state": "DI", "model_version": None}
    with fake_label_studio(store) as url:
        *_, unconnected = checked(url, TOKEN)
        store.models = [entry]
        *_, unreached = checked(url, TOKEN)
        store.models = [entry | {"state": "CO", "model_version": "another-model"}]
        *_, foreign = checked(url, TOKEN)
        store.models = [entry, entry | {"state": "CO", "model_version": f"{VERSION}+yolov8n"}]
        *_, connected = checked(url, TOKEN)
        *_, registered = checked(url, TOKEN, is_connected=True)

    assert unconnected.problem == foreign.problem == "no project of Label Studio uses this backend"
    assert "label-studio-sam connect --project" in unconnected.next_step
    assert unreached.problem == "Label Studio does not reach the model of project 1 at http://localhost:9090"
    assert "the container's name" in unreached.next_step
    without_prompts = f"(clicks get: no smart point and no smart rectangle; {NOTHING_OPENED})"
    assert connected.found == f"connected: project 1 at http://localhost:9090 {without_prompts}"
    assert registered.ok


def test_the_connected_project_is_named_with_the_regions_that_its_clicks_get() -> None:
    entry = {"id": 3, "url": "http://localhost:9090", "state": "CO", "model_version": VERSION}
    polygons = BRUSH_CONFIG.replace("BrushLabels", "PolygonLabels")
    store = Store(config=polygons)
    found = []
    with fake_label_studio(store) as url:
        for extra_params in ({}, '{"candidates": 3}', {"sam_output": "ellipse"}):
            store.models = [{**entry, "extra_params": extra_params}]
            found.append(checked(url, TOKEN)[-1].found)

    where = "connected: project 1 at http://localhost:9090"
    assert found[0] == f"{where} (clicks get: polygon; {NOTHING_OPENED})"
    assert found[1] == f"{where} (clicks get: polygon, 3 candidates; {NOTHING_OPENED})"
    assert found[2].startswith(
        f"{where} (clicks get nothing: sam_output='ellipse': the labeling config has no <Ellipse"
    )


def test_the_status_names_a_model_without_weights_and_no_folder() -> None:
    def load(_: object) -> None:
        raise WeightsUnavailableError("sam_b_01ec64.pth is not here")

    service = SamService(Settings(model="sam_b"), load=load)  # type: ignore[arg-type]
    service.model.start()
    while service.model.state == "loading":
        time.sleep(0.01)

    checks = service.client.get("/api/status").get_json()["checks"]

    assert checks[0]["name"] == "Model"
    assert (
        checks[0]["problem"]
        == "could not load disc: the weights file sam_vit_b_01ec64.pth is missing; no click is answered"
    )
    assert "label-studio-sam weights download sam_b" in checks[0]["next_step"]
    assert "/.cache" not in json.dumps(checks)


def test_a_cut_off_file_of_weights_is_named_as_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "mobile_sam.pt").write_bytes(b"PK\x03\x04" + bytes(96))
    settings = Settings(model="mobile_sam", device="cpu", runtime="torch", weights_dir=tmp_path, offline=True)
    store = WeightStore(tmp_path, is_offline=True)
    model = ModelLoading(choose_model(settings, store))
    model.start()
    wait_until(lambda: model.state == "failed")

    check = check_model(settings, model, store)

    assert not check.ok
    assert check.problem.startswith(
        "could not load model mobile_sam: mobile_sam.pt is not the file of mobile_sam: it is cut off: it has 100 bytes"
    )


def test_doctor_says_which_model_was_chosen_automatically_and_why(tmp_path: Path) -> None:
    weights = find_weights("mobile_sam")
    with (tmp_path / weights.file).open("wb") as file:
        file.truncate(weights.size)
    settings = Settings(device="cpu", runtime="torch", weights_dir=tmp_path)
    store = WeightStore(tmp_path, is_offline=True)

    check = check_model(settings, ModelLoading(choose_model(settings, store)), store)

    assert check.ok
    assert check.found.startswith("mobile_sam-6dbb9052-float32, loading; SAM_MODEL=auto chose mobile_sam: the best ")
    assert "takes at most 1.5 times as long as MobileSAM's with torch on a CPU; its weights are stored" in check.found


def test_a_registered_project_counts_at_once() -> None:
    def of_project() -> list[bool]:
        checks = service.client.get("/api/status").get_json()["checks"]
        return [check["ok"] for check in checks if check["name"] == "Project"]

    with fake_label_studio(Store(models=[])) as url:
        service = SamService(Settings(label_studio_url=url, label_studio_api_key=TOKEN))
        while not of_project():
            time.sleep(0.02)
        assert of_project() == [False]
        service.client.post("/setup", json=setup_request())

        assert of_project() == [True], "a registered project counts before the next check"


def test_health_setup_and_status_do_not_wait_for_a_label_studio_that_hangs(silent_port: int) -> None:
    service = SamService(Settings(label_studio_url=f"http://127.0.0.1:{silent_port}", label_studio_api_key=TOKEN))
    service.parts.health_monitor.start()
    began = time.monotonic()
    service.client.get("/health")
    service.client.post("/setup", json=setup_request())
    status = service.client.get("/api/status").get_json()

    assert time.monotonic() - began < 2, "a check takes 5 s here"
    assert status["checks"][0]["name"] == "Model"


def test_the_log_names_a_problem_once(tmp_path: Path) -> None:
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
        ({"SAM_RUNS_DIR": "/proc/nowhere"}, "SAM_RUNS_DIR=/proc/nowhere is not writable for user"),
    ],
)
@pytest.mark.parametrize("command", ["serve", "doctor"])
def test_a_bad_device_or_folder_stops_the_start_with_one_line(
    command: str, settings: dict[str, str], words: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "sam_backend.commands.main", command],
        env=environment(**settings), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert words in line
    assert "set" in line or "SAM_DEVICE=auto" in line


def test_doctor_exits_with_1_and_names_the_next_step(tmp_path: Path) -> None:
    store = Store(models=[])
    asked = [sys.executable, "-m", "sam_backend.commands.main", "doctor"]
    with fake_label_studio(store) as url:
        settings = {"LABEL_STUDIO_URL": url, "LABEL_STUDIO_API_KEY": TOKEN, "SAM_RUNS_DIR": str(tmp_path)}
        failing = subprocess.run(
            asked, env=environment(**settings), capture_output=True, text=True, timeout=60, check=False
        )
        version = failing.stdout.split("Model: ")[1].split(",")[0]
        store.models = [{"id": 1, "url": "http://sam:9090", "state": "CO", "model_version": version}]
        passing = subprocess.run(
            [*asked, "--json"], env=environment(**settings), capture_output=True, text=True, timeout=60, check=False
        )

    assert failing.returncode == 1
    assert "missing  Project: no project of Label Studio uses this backend" in failing.stdout
    assert "         next: run `label-studio-sam connect" in failing.stdout
    assert TOKEN not in failing.stdout + failing.stderr
    assert passing.returncode == 0, passing.stderr
    assert [check["ok"] for check in json.loads(passing.stdout)["checks"]] == [True] * 5


def test_the_reason_why_the_newest_run_failed_is_a_check_until_the_next_run(tmp_path: Path) -> None:
    service = SamService(Settings(runs_dir=tmp_path))
    store = RunStore(tmp_path)

    store.create(RunConfiguration(3)).end("failed", "project 3 has 2 labels")
    failed = [check for check in service.parts.health_monitor.check_now() if check.name == "Last run"]
    store.create(RunConfiguration(3)).end("finished")
    after_another = [check for check in service.parts.health_monitor.check_now() if check.name == "Last run"]

    assert "of project 3 failed: project 3 has 2 labels" in failed[0].problem
    assert after_another == []
