"""The same answers by `label-studio-ml start` as by `label-studio-sam serve`: real servers, real HTTP.

1.0.9 is the package of PyPI in an environment of its own (`make mlbackend`), started as its users start it. 2.x is on
no registry: its interface is in `interface_of_2`.
"""

import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sam_backend.demo.child_process import free_port
from sam_testing.backend_program import BackendProgram, environment
from sam_testing.fake_label_studio import TOKEN, Store, fake_label_studio
from sam_testing.label_studio import (
    BRUSH_CONFIG,
    PALETTE_CONFIG,
    key_point,
    predict_request,
    rectangle,
    setup_request,
    with_palette,
)
from sam_testing.ml_backend_server import Server, label_studio_ml_server
from sam_testing.service import png_image

IMAGE = {"image": "data:image/png;base64," + base64.b64encode(png_image()).decode()}

Json = Any


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackendProgram]:
    folder = tmp_path_factory.mktemp("ours")
    program = BackendProgram(folder / "log", SAM_RUNS_DIR=str(folder / "runs"))
    yield program
    program.stop()


def start_theirs(version: str, folder: Path) -> Server:
    """Start label-studio-ml's server of a version; `folder` gets its log and runs."""
    settings = environment(SAM_RUNS_DIR=str(folder / "runs"))
    if version == "1.0.9":
        return label_studio_ml_server(folder, settings)
    port = free_port(0)
    env = settings | {"PYTHONPATH": str(Path(__file__).parent / "interface_of_2")}
    return Server([sys.executable, "-m", "label_studio_ml.api", str(port)], port, folder / "log", env)


@pytest.fixture(scope="module", params=["1.0.9", "2.x"])
def theirs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = start_theirs(request.param, tmp_path_factory.mktemp("theirs"))
    yield server
    server.stop()


def two_tasks() -> list[Json]:
    return [predict_request(task_id=number, data=IMAGE)["tasks"][0] for number in (1, 2)]


REQUESTS = {
    "a point": predict_request([key_point(50, 50)], data=IMAGE),
    "a point and one beside the object": predict_request(
        [key_point(50, 50), key_point(5, 5, "p2", is_positive=False)], data=IMAGE
    ),
    "a rectangle": predict_request([rectangle(10, 10, 60, 60)], data=IMAGE),
    "a palette of labels": predict_request(with_palette(key_point(40, 40)), PALETTE_CONFIG, IMAGE),
    "no prompt left": predict_request([], data=IMAGE),
    "two tasks opened": predict_request(tasks=two_tasks()),
}


def same_regions(answer: Json) -> Json:
    """The answer without what is drawn anew each time, the region ids, and the task's number, which 2.x drops."""
    for result in answer["results"]:
        for prediction in result if isinstance(result, list) else [result]:
            prediction.pop("task", None)
            for region in prediction["result"]:
                assert region.pop("id")
    return answer["results"]


@pytest.mark.parametrize("what", list(REQUESTS))
def test_predictions_are_the_same(theirs: Server, ours: BackendProgram, what: str) -> None:
    assert theirs.ask("/setup", setup_request())[0] == 200

    status, answer = theirs.ask("/predict", REQUESTS[what])
    ours_status, ours_answer = ours.ask("/predict", REQUESTS[what])

    assert (status, ours_status) == (200, 200), answer
    assert same_regions(answer) == same_regions(ours_answer)


@pytest.mark.parametrize("what", ["a point", "two tasks opened"])
def test_1_0_9_answers_before_any_setup(ours: BackendProgram, tmp_path: Path, what: str) -> None:
    theirs = label_studio_ml_server(tmp_path, environment(SAM_RUNS_DIR=str(tmp_path / "runs")))
    bad = predict_request([key_point(50, 50)], "<View", IMAGE)
    try:
        refused = theirs.ask("/predict", bad)
        status, answer = theirs.ask("/predict", REQUESTS[what])
    finally:
        theirs.stop()

    assert (refused[0], refused[1]["error"]) == (400, ours.ask("/predict", bad)[1]["error"])
    assert status == 200, answer
    assert same_regions(answer) == same_regions(ours.ask("/predict", REQUESTS[what])[1])
    assert "Traceback" not in theirs.log


def test_a_click_gives_a_mask(theirs: Server) -> None:
    theirs.ask("/setup", setup_request())

    _, answer = theirs.ask("/predict", REQUESTS["a point"])

    (prediction,) = answer["results"]
    (region,) = prediction["result"]
    assert region["type"] == "brushlabels"
    assert region["value"]["format"] == "rle"
    assert len(region["value"]["rle"]) > 10


def test_projects_with_different_configs_do_not_mix(theirs: Server, ours: BackendProgram) -> None:
    palette = setup_request(PALETTE_CONFIG) | {"project": "2.1795346940"}
    theirs.ask("/setup", setup_request(BRUSH_CONFIG))
    theirs.ask("/setup", palette)  # 1.0.9 has one model only, and that is this project's now

    _, brush = theirs.ask("/predict", REQUESTS["a point"])

    assert same_regions(brush) == same_regions(ours.ask("/predict", REQUESTS["a point"])[1])


def test_setup_returns_the_version_and_reads_the_extra_parameters(theirs: Server, ours: BackendProgram) -> None:
    extra = {"detector": "everything", "score_threshold": 0, "label_map": {"object": "Cat"}}
    wanted = setup_request() | {"extra_params": json.dumps(extra)}

    assert theirs.ask("/setup", setup_request()) == ours.ask("/setup", setup_request())
    assert theirs.ask("/setup", wanted) == ours.ask("/setup", wanted)
    theirs_answer = theirs.ask("/predict", REQUESTS["two tasks opened"])[1]
    ours_answer = ours.ask("/predict", REQUESTS["two tasks opened"])[1]

    assert same_regions(theirs_answer) == same_regions(ours_answer)
    assert all(theirs_answer["results"]), "everything finds something"
    for server in (theirs, ours):
        server.ask("/setup", setup_request())


@pytest.mark.parametrize(
    ("asked", "status", "words"),
    [
        (predict_request([key_point(50, 50)], data={"image": "data:image/png;base64,AAAA"}), 422, "task 1"),
        (predict_request([key_point(50, 50) | {"value": {"x": "a"}}], data=IMAGE), 400, "x"),
        (predict_request([key_point(50, 50)], "<View></View>", IMAGE), 400, "add one of <BrushLabels>"),
    ],
)
def test_bad_input_gets_the_same_error_and_no_traceback(
    theirs: Server, ours: BackendProgram, asked: Json, status: int, words: str
) -> None:
    theirs.ask("/setup", setup_request())

    answer = theirs.ask("/predict", asked)

    ours_status, ours_answer = ours.ask("/predict", asked)
    assert (answer[0], answer[1]["error"]) == (ours_status, ours_answer["error"])
    assert answer[0] == status
    assert words in answer[1]["error"]
    assert "Traceback" not in theirs.log


@pytest.mark.parametrize(("version", "predictions"), [("1.0.9", 0), ("2.x", 2)])
def test_start_training_starts_a_run_only_under_2(version: str, predictions: int, tmp_path: Path) -> None:
    theirs = start_theirs(version, tmp_path)  # of its own: a server keeps the address of its first /setup
    store = Store()
    store.add_tasks(2)
    extra = {"detector": "everything", "score_threshold": 0, "label_map": {"object": "person"}}
    with fake_label_studio(store) as url:
        access = {"hostname": url, "access_token": TOKEN, "extra_params": json.dumps(extra)}
        theirs.ask("/setup", setup_request(store.config) | access)
        event = {"action": "START_TRAINING", "project": {"id": 1, "label_config": store.config}}

        status, _ = theirs.ask("/webhook", event)

        assert status == 201
        end = time.monotonic() + (60 if predictions else 2)
        while len(store.predictions) < 2 and time.monotonic() < end:
            time.sleep(0.1)
        theirs.stop()
    assert len(store.predictions) == predictions, theirs.log[-3000:]


def test_without_label_studio_ml_the_import_error_names_the_fix() -> None:
    asked = [sys.executable, "-c", "import sam_backend.ml_backend"]

    ended = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)

    assert "pip install --no-deps label-studio-ml" in ended.stderr
    assert "`label-studio-sam serve`" in ended.stderr
