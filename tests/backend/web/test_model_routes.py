"""The models over HTTP, on gunicorn: downloaded on request, and switched while clicks are answered."""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sam_testing.backend_program import BackendProgram
from sam_testing.label_studio import key_point, predict_request, setup_request
from sam_testing.service import png_image
from sam_testing.tiny_catalogue import COMMAND, write_tiny_files
from sam_testing.web_server import Answer, Asked, serving

MOBILE, SAM_2, TAM = "mobile_sam", "sam2.1_hiera_tiny", "efficienttam_s"
IMAGE = f"data:image/png;base64,{base64.b64encode(png_image()).decode()}"
CLICK = predict_request([key_point(50, 50)], data={"image": IMAGE})

Start = Callable[..., BackendProgram]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_tiny_files(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def start(files: dict[str, Path], tmp_path: Path) -> Iterator[Start]:
    programs: list[BackendProgram] = []
    weights = tmp_path / "weights"
    weights.mkdir()

    def begin(*stored: str, **settings: str) -> BackendProgram:
        for name in stored:
            (weights / files[name].name).write_bytes(files[name].read_bytes())
        settings = {
            "SAM_WEIGHTS_DIR": str(weights),
            "SAM_RUNS_DIR": str(tmp_path / "runs"),
            "TINY_WEIGHTS": str(files[MOBILE].parent),
            "SAM_MODEL": MOBILE,
            **settings,
        }
        programs.append(BackendProgram(tmp_path / "log", COMMAND, **settings))
        return programs[-1]

    yield begin
    for program in programs:
        program.stop()


def model_of(backend: BackendProgram, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in backend.ask("/api/models")[1]["models"] if row["name"] == name)
    return found


def answer_to(backend: BackendProgram, click: object = CLICK) -> tuple[str, str]:
    """Return model version and regions of a click."""
    status, answer = backend.ask("/predict", click)
    assert status == 200, answer
    (prediction,) = answer["results"]
    return prediction["model_version"], json.dumps(prediction["result"])


def switch(backend: BackendProgram, name: str) -> dict[str, Any]:
    """Switch to a model and wait for the end; return the switch."""
    assert backend.ask(f"/api/models/{name}/use", {})[0] == 202
    backend.wait_until(lambda: backend.ask("/api/models")[1]["switch"]["state"] != "loading")
    found: dict[str, Any] = backend.ask("/api/models")[1]["switch"]
    return found


def test_switches_under_a_stream_of_clicks_fail_no_click_and_mix_no_models(start: Start) -> None:
    backend = start(MOBILE, SAM_2, TAM)
    expected = dict([answer_to(backend)])
    for name in (SAM_2, TAM, MOBILE):
        assert switch(backend, name)["state"] == "done"
        expected |= dict([answer_to(backend)])
    answers: list[tuple[str, str]] = []
    problems: list[str] = []
    is_over = threading.Event()

    def click() -> None:
        while not is_over.is_set():
            try:
                answers.append(answer_to(backend))
            except AssertionError as error:
                problems.append(str(error))

    clickers = [threading.Thread(target=click) for _ in range(4)]
    for clicker in clickers:
        clicker.start()
    for name in (SAM_2, MOBILE, TAM) * 3:
        count = len(answers)
        assert switch(backend, name)["state"] == "done"
        backend.wait_until(lambda count=count: len(answers) > count + 8)  # type: ignore[misc]
    is_over.set()
    for clicker in clickers:
        clicker.join()

    assert problems == []
    assert len(expected) == len(set(expected.values())) == 3
    assert {version for version, _ in answers} == set(expected)
    assert [version for version, regions in answers if regions != expected[version]] == []
    answer_to(backend)  # a click that began with another model may have been the last one to end
    last = backend.ask("/api/clicks")[1]["clicks"][0]
    assert last["model"] == TAM


def test_a_missing_model_is_downloaded_with_progress_and_then_used(start: Start, files: dict[str, Path]) -> None:
    data, go_on = files[SAM_2].read_bytes(), threading.Event()

    def slow(asked: Asked) -> Answer:
        if asked.method == "HEAD" or SAM_2 not in asked.path:
            return Answer(b"", 200, {"Content-Length": str(len(data))})

        def pieces() -> Iterator[bytes]:
            yield data[: 1 << 20]
            go_on.wait(30)
            yield data[1 << 20 :]

        return Answer(pieces(), 200, {"Content-Length": str(len(data))})

    with serving(slow) as mirror:
        backend = start(MOBILE, SAM_OFFLINE="0", SAM_WEIGHTS_MIRROR=mirror.url)
        assert model_of(backend, SAM_2)["presence"] == "missing"

        status, _ = backend.ask(f"/api/models/{SAM_2}/download", {})
        assert status == 202
        backend.wait_until(lambda: model_of(backend, SAM_2)["progress"] is not None)
        during = model_of(backend, SAM_2)
        backend.ask(f"/api/models/{SAM_2}/download", {})
        go_on.set()
        backend.wait_until(lambda: not model_of(backend, SAM_2)["is_downloading"])

        after = model_of(backend, SAM_2)
        assert (during["is_downloading"], during["progress"]["total"]) == (True, len(data))
        assert 0 < during["progress"]["bytes"] < len(data)
        assert (after["presence"], after["problem"], after["progress"]) == ("present", "", None)
        assert mirror.paths.count(f"/{files[SAM_2].name}") == 1
        assert switch(backend, SAM_2)["state"] == "done"
        assert answer_to(backend)[0].startswith(SAM_2)


def test_broken_files_and_missing_servers_leave_the_old_model_and_say_why(start: Start, files: dict[str, Path]) -> None:
    backend = start(MOBILE, SAM_OFFLINE="0", SAM_WEIGHTS_MIRROR="http://127.0.0.1:1")
    before = answer_to(backend)
    broken = Path(model_folder(backend)) / files[SAM_2].name
    broken.write_bytes(files[SAM_2].read_bytes()[:-1] + b"?")

    failed = switch(backend, SAM_2)
    backend.ask(f"/api/models/{TAM}/download", {})
    backend.wait_until(lambda: bool(model_of(backend, TAM)["problem"]))

    assert failed["state"] == "failed"
    assert "sam2.1_hiera_tiny.pt is not the file of sam2.1_hiera_tiny" in failed["problem"]
    assert "could not download" in model_of(backend, TAM)["problem"]
    assert answer_to(backend) == before
    assert backend.ask("/api/models")[1]["default"]["name"] == MOBILE
    broken.write_bytes(files[SAM_2].read_bytes())
    assert switch(backend, SAM_2)["state"] == "done", "a failed switch may be tried again"


def model_folder(backend: BackendProgram) -> str:
    return backend._settings["SAM_WEIGHTS_DIR"]


def test_the_choice_survives_a_restart_until_sam_model_changes(start: Start) -> None:
    backend = start(MOBILE, SAM_2)
    switch(backend, SAM_2)
    chosen = answer_to(backend)
    backend.stop()

    backend.start()
    again = answer_to(backend)
    backend.stop()
    other = start(SAM_MODEL="classical")

    assert again == chosen
    assert other.ask("/health")[1]["model"] == "classical"


def test_unknown_names_other_origins_and_requests_without_the_token_are_refused(start: Start) -> None:
    backend = start(MOBILE, SAM_API_TOKEN="a-token")
    token = {"Authorization": "Bearer a-token"}

    assert backend.ask("/api/models")[0] == 401
    assert backend.ask(f"/api/models/{SAM_2}/use", {})[0] == 401
    assert backend.ask(f"/api/models/{SAM_2}/download", {}, Origin="http://evil.example", **token)[0] == 403
    assert backend.ask(f"/api/models/{SAM_2}/use", {}, **{**token, "Content-Type": "text/plain"})[0] == 415
    for name in ("nothing", "yolov8n", "..%2Fetc", "classical"):
        assert backend.ask(f"/api/models/{name}/download", {}, **token)[0] == 404, name
    assert backend.ask("/api/models/yolov8n/use", {}, **token)[0] == 404


def test_a_project_asks_for_another_model_and_the_click_log_names_it(start: Start) -> None:
    backend = start(MOBILE, SAM_2, TAM, SAM_MODELS=f"{SAM_2},{TAM}")
    plain = answer_to(backend)
    for project, name in ((2, SAM_2), (3, TAM), (4, "sam_l")):
        body = {"project": f"{project}.1700000000", "extra_params": json.dumps({"model": name})}
        assert backend.ask("/setup", setup_request() | body)[0] == 200

    def click(project: int) -> tuple[str, str]:
        tasks = [CLICK["tasks"][0] | {"project": project}]
        return answer_to(backend, CLICK | {"tasks": tasks, "project": f"{project}.1700000000"})

    backend.wait_until(lambda: click(2)[0].startswith(SAM_2))
    backend.wait_until(lambda: click(3)[0].startswith(TAM))
    log = {row["project"]: row["model"] for row in backend.ask("/api/clicks")[1]["clicks"]}

    assert (log[2], log[3]) == (SAM_2, TAM)
    assert click(4) == plain, "sam_l is not one of SAM_MODELS: it counts for runs only"
    assert len({plain[1], click(2)[1], click(3)[1]}) == 3


@pytest.mark.slow
def test_models_of_projects_take_turns_in_little_memory_under_a_stream_of_clicks(start: Start) -> None:
    settings = {"SAM_MODELS_MIB": "2", "SAM_MODEL_WAIT_S": "90", "SAM_RUNTIME": "torch"}  # one model fits into 2 MiB
    backend = start(MOBILE, SAM_2, TAM, SAM_MODELS=f"{SAM_2},{TAM}", **settings)
    projects = {2: SAM_2, 3: TAM}
    answers: dict[int, set[tuple[str, str]]] = {project: set() for project in projects}
    problems: list[str] = []
    for project, name in projects.items():
        body = {"project": f"{project}.1700000000", "extra_params": json.dumps({"model": name})}
        assert backend.ask("/setup", setup_request() | body)[0] == 200

    def click(project: int) -> None:
        tasks = [CLICK["tasks"][0] | {"project": project}]
        for _ in range(10):
            try:
                answers[project].add(answer_to(backend, CLICK | {"tasks": tasks, "project": f"{project}.1700000000"}))
            except AssertionError as error:
                problems.append(str(error))

    clickers = [threading.Thread(target=click, args=(project,)) for project in (2, 3, 2, 3)]
    for clicker in clickers:
        clicker.start()
    for clicker in clickers:
        clicker.join()

    assert problems == []
    for project, name in projects.items():
        ((version, regions),) = answers[project]
        assert version.startswith(name)
        assert regions != "[]"
    assert backend.log.count("SAM_MODELS_MIB is reached") > 2
