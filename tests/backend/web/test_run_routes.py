"""Runs over HTTP: the real service and its worker processes, beside a fake Label Studio."""

import base64
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sam_testing.backend_program import BackendProgram
from sam_testing.fake_label_studio import CONFIG, TOKEN, Store, disc_image, fake_label_studio
from sam_testing.label_studio import predict_request
from sam_testing.service import SamService
from sam_testing.web_server import Answer, Asked, serving
from sam_testing.yolo_files import write_yolo_file

EVERYTHING = {"project": 1, "detector": "everything", "label_map": {"object": "face"}}
QUICK = {"detector": "boxes", "label_map": {}}  # tasks without boxes: an empty prediction each, at no cost
PLAN = {name: value for name, value in EVERYTHING.items() if name != "project"}


@dataclass
class Installation:
    """A fake Label Studio and the service."""

    store: Store
    backend: BackendProgram

    def start(self, **asked: Any) -> str:
        status, answer = self.backend.ask("/api/runs", {**EVERYTHING, **asked})
        assert status == 202, answer
        run_id: str = answer["run"]["id"]
        return run_id

    def runs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.backend.ask("/api/runs")[1]["runs"]
        return found

    def setup(self, extra_params: object) -> str:
        body = {
            "project": self.store.uid,
            "schema": CONFIG,
            "hostname": "",
            "access_token": "",
            "extra_params": extra_params,
        }
        version: str = self.backend.ask("/setup", body)[1]["model_version"]
        return version

    def predict(self, *ids: int, predictions: Any = ()) -> list[Any]:
        data = {one: self.store.tasks.get(one, {"image": disc_image()}) for one in ids}
        tasks = [{"id": one, "data": data[one], "predictions": list(predictions)} for one in ids]
        asked = predict_request(None, CONFIG, tasks=tasks) | {"project": self.store.uid}
        results: list[Any] = self.backend.ask("/predict", asked)[1]["results"]
        return results

    def predictions(self) -> dict[int, int]:
        return {task: len(found) for task, found in self.store.predictions.items() if found}


@pytest.fixture
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    """`indirect` parameters are settings."""
    store = Store()
    settings = getattr(request, "param", {})
    with fake_label_studio(store) as url:
        known = {
            "LABEL_STUDIO_URL": url,
            "LABEL_STUDIO_API_KEY": TOKEN,
            "SAM_RUNS_DIR": str(tmp_path / "runs"),
            "SAM_WEIGHTS_DIR": str(tmp_path / "weights"),
            "SAM_TASK_OPEN_TIMEOUT_S": "60",
        }
        backend = BackendProgram(tmp_path / "backend.log", **{**known, **settings})
        try:
            yield Installation(store, backend)
        finally:
            backend.stop()


@pytest.fixture
def own_detector(tmp_path: Path) -> str:
    """The name of a detector's file in the folder of weights."""
    folder = tmp_path / "weights"
    folder.mkdir(exist_ok=True)
    return write_yolo_file(folder / "best.pt").name


def test_a_run_writes_a_prediction_for_every_task_and_undo_removes_them(installation: Installation) -> None:
    installation.store.add_tasks(5)

    run_id = installation.start()
    run = installation.backend.wait_for(run_id, "finished", "failed")

    assert (run["state"], run["message"]) == ("finished", "")
    assert run["counts"] | {"objects": 0} == {
        "total": 5, "written": 5, "skipped": 0, "failed": 0, "empty": 0, "objects": 0, "undone": 0
    }  # fmt: skip
    assert run["labels"].keys() == {"face"}
    assert run["model_version"].startswith("label-studio-sam everything+classical ")
    assert run["project_title"] == "Fake"
    assert installation.predictions() == dict.fromkeys(range(1, 6), 1)

    assert installation.backend.ask(f"/api/runs/{run_id}/undo", {})[0] == 202
    assert installation.backend.wait_for(run_id, "undone", "failed")["counts"]["undone"] == 5
    assert installation.predictions() == {}


def test_a_run_is_cancelled_within_two_seconds_and_its_project_is_free_again(installation: Installation) -> None:
    installation.store.add_tasks(3000)
    run_id = installation.start(**QUICK)
    installation.backend.wait_until(lambda: installation.runs()[0]["counts"]["written"] > 0)

    refused, answer = installation.backend.ask("/api/runs", EVERYTHING)
    asked_at = time.monotonic()
    installation.backend.ask(f"/api/runs/{run_id}/cancel", {})
    installation.backend.wait_for(run_id, "cancelled", timeout_s=10)
    took_s = time.monotonic() - asked_at

    assert refused == 409
    assert f"run {run_id} of project 1 is running" in answer["error"]
    assert took_s < 2
    second = installation.start(**QUICK)
    installation.backend.ask(f"/api/runs/{second}/cancel", {})
    installation.backend.wait_for(second, "cancelled", timeout_s=10)


def test_a_run_that_is_paused_while_its_worker_starts_stays_paused(installation: Installation) -> None:
    installation.store.add_tasks(60)
    run_id = installation.start(**QUICK)

    installation.backend.ask(f"/api/runs/{run_id}/pause", {})
    time.sleep(4)  # more than a worker takes to start

    assert installation.backend.ask(f"/api/runs/{run_id}")[1]["run"]["state"] == "paused"
    assert installation.backend.ask(f"/api/runs/{run_id}/resume", {})[0] == 202
    assert installation.backend.wait_for(run_id, "finished", "failed")["counts"]["written"] == 60


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_goes_on_by_itself_after_the_service_was_ended(
    installation: Installation, number: signal.Signals
) -> None:
    installation.store.add_tasks(2000)
    run_id = installation.start(**QUICK)
    installation.backend.wait_until(lambda: 0 < installation.runs()[0]["counts"]["written"] < 2000)

    worker = _only_child(installation.backend.process.pid)  # gunicorn's, the one that holds the run's process
    installation.backend.stop(number)
    if number == signal.SIGKILL:
        os.kill(worker, number)
    time.sleep(1)
    written = len(installation.predictions())
    time.sleep(1)
    still_written = len(installation.predictions())
    installation.backend.start()
    run = installation.backend.wait_for(run_id, "finished", "failed")

    assert still_written == written < 2000  # no process works on it meanwhile
    assert run["counts"]["written"] == 2000
    assert installation.predictions() == dict.fromkeys(range(1, 2001), 1)


def _only_child(pid: int) -> int:
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def test_failed_tasks_are_listed_and_only_they_are_tried_again(installation: Installation) -> None:
    installation.store.add_tasks(3)
    installation.store.tasks[2] = {"image": "data:image/png;base64,AAAA"}
    run_id = installation.start()
    assert installation.backend.wait_for(run_id, "finished", "failed")["counts"]["failed"] == 1

    (failure,) = installation.backend.ask(f"/api/runs/{run_id}")[1]["failures"]
    installation.store.tasks[2] = installation.store.tasks[1]
    installation.backend.ask(f"/api/runs/{run_id}/retry", {})
    installation.backend.wait_until(lambda: installation.runs()[0]["counts"]["written"] == 3)

    assert failure["task"] == 2
    assert "image" in failure["error"]
    installation.backend.wait_for(run_id, "finished")
    status, answer = installation.backend.ask(f"/api/runs/{run_id}/retry", {})
    assert (status, answer["error"]) == (409, f"run {run_id} has no failed task")
    assert installation.predictions() == {1: 1, 2: 1, 3: 1}


def test_a_damaged_ledger_stops_no_other_run_and_is_named(installation: Installation, tmp_path: Path) -> None:
    installation.store.add_tasks(2)
    first = installation.start(**QUICK)
    installation.backend.wait_for(first, "finished", "failed")
    ledger = tmp_path / "runs" / f"{first}.sqlite3"
    content = bytearray(ledger.read_bytes())
    content[100] ^= 0xFF  # the kind of the first page
    ledger.write_bytes(content)

    second = installation.start(**QUICK)
    ended = installation.backend.wait_for(second, "finished", "failed")
    status, listed = installation.backend.ask("/api/runs")

    assert ended["state"] == "finished"
    assert status == 200
    assert [run["id"] for run in listed["runs"]] == [second]
    assert [(one["id"], one["is_set_aside"]) for one in listed["unreadable"]] == [(first, True)]
    assert installation.backend.ask(f"/api/runs/{first}")[0] == 409
    assert "Traceback" not in installation.backend.log
    checks = {check["name"]: check for check in installation.backend.ask("/api/status")[1]["checks"]}
    assert first in checks["Runs"]["problem"]


def test_a_preview_returns_images_and_writes_nothing(installation: Installation) -> None:
    installation.store.add_tasks(6)

    status, answer = installation.backend.ask("/api/runs/preview", {**EVERYTHING, "tasks": 2})

    assert status == 200
    assert [one["task"] for one in answer["images"]] == [1, 4]
    assert answer["images"][0]["image"].startswith("data:image/")
    assert answer["estimate"]["tasks"] == 6
    assert installation.predictions() == {}
    assert installation.runs() == []


def test_the_mapping_names_the_label_of_each_class(installation: Installation) -> None:
    installation.store.add_tasks(2)

    status, answer = installation.backend.ask("/api/runs/mapping", {"project": 1, "detector": "classical"})

    assert (status, answer["tasks"]) == (200, 2)
    assert answer["mapping"]["mapped"] == {"person": "person", "face": "face"}


def test_projects_and_status_are_listed(installation: Installation) -> None:
    installation.store.add_tasks(2)
    unknown = installation.backend.ask("/api/projects")[1]["projects"]
    installation.setup(None)

    fields = {"id": 1, "title": "Fake", "tasks": 2, "labels": ["person", "face"], "words": "person, face"}
    assert unknown == [{**fields, "has_this_backend": False, "clicks": None}]
    (known,) = installation.backend.ask("/api/projects")[1]["projects"]
    assert known["has_this_backend"]
    assert known["clicks"] == (
        "no smart point and no smart rectangle; an opened task gets no predictions, "
        "and Retrieve Predictions needs two or more tasks"
    )
    found: dict[str, dict[str, Any]] = {}

    def token_was_tried() -> bool:
        found.update({check["name"]: check for check in installation.backend.ask("/api/status")[1]["checks"]})
        return "Token" in found

    installation.backend.wait_until(token_was_tried)
    assert found["Token"]["ok"]
    status = installation.backend.ask("/api/status")[1]
    assert status["model"]["name"] == "classical"
    assert status["label_studio"]["url"].startswith("http://127.0.0.1:")
    assert {"everything", "boxes", "classical", "yolov8x"} <= set(status["detectors"])
    missing = {each["model"] for each in status["weights"] if each["presence"] == "missing"}
    assert {"yolov8x", "sam3", "owlv2_base"} <= missing
    assert TOKEN not in str(status)


def test_start_training_runs_what_the_models_extra_parameters_describe(installation: Installation) -> None:
    installation.store.add_tasks(3)
    installation.store.extra_params = PLAN  # the service has not seen POST /setup since its start

    began = time.monotonic()
    status, _ = installation.backend.ask("/webhook", {"action": "START_TRAINING", "project": {"id": 1}})
    took_s = time.monotonic() - began
    installation.backend.wait_until(lambda: bool(installation.runs()) and installation.runs()[0]["state"] == "finished")

    assert status == 201
    assert took_s < 1
    assert installation.predictions() == {1: 1, 2: 1, 3: 1}
    assert installation.runs()[0]["configuration"]["detector"] == "everything"


def test_an_own_detector_is_chosen_by_its_file_name(installation: Installation, own_detector: str) -> None:
    installation.store.add_tasks(2)
    plan = {"detector": own_detector, "label_map": {"person": "face"}, "score_threshold": 1.0}

    assert own_detector in installation.backend.ask("/api/status")[1]["detectors"]
    assert installation.setup(plan).startswith("label-studio-sam best+classical ")
    installation.store.extra_params = plan
    assert installation.backend.ask("/webhook", {"action": "START_TRAINING", "project": {"id": 1}})[0] == 201
    installation.backend.wait_until(lambda: bool(installation.runs()) and installation.runs()[0]["state"] == "finished")
    assert installation.predictions() == {1: 1, 2: 1}
    assert installation.start(**plan, policy="add")
    status, answer = installation.backend.ask("/api/runs", {"project": 1, **plan, "detector": f"./{own_detector}"})
    assert status == 400
    assert "is not one of auto, everything" in answer["error"]


def test_bad_extra_parameters_become_a_failed_run_in_the_list(installation: Installation) -> None:
    installation.setup({"detektor": "yolov8x"})

    installation.backend.ask("/webhook", {"action": "START_TRAINING", "project": {"id": 1}})
    installation.backend.wait_until(lambda: bool(installation.runs()))
    installation.backend.wait_until(lambda: installation.runs()[0]["state"] == "failed")

    assert "unknown field 'detektor'" in installation.runs()[0]["message"]


@pytest.mark.parametrize("installation", [{"SAM_BASIC_AUTH_USER": "u", "SAM_BASIC_AUTH_PASSWORD": "p"}], indirect=True)
def test_with_a_password_training_and_runs_need_it_and_events_do_not(installation: Installation) -> None:
    password = {"Authorization": "Basic " + base64.b64encode(b"u:p").decode()}
    training = {"action": "START_TRAINING", "project": {"id": 1}}

    assert installation.backend.ask("/webhook", training)[0] == 401
    assert installation.backend.ask("/webhook", training, **password)[0] == 201
    assert installation.backend.ask("/webhook", {"action": "ANNOTATION_CREATED"})[0] == 201
    for path in ("/api/runs", "/api/status", "/api/projects"):
        assert installation.backend.ask(path)[0] == 401, path
    assert installation.backend.ask("/api/runs", EVERYTHING)[0] == 401


@pytest.mark.parametrize("installation", [{"SAM_PREANNOTATE_ON_IMPORT": "true"}], indirect=True)
def test_imports_in_a_row_become_one_run_of_the_imported_tasks(installation: Installation) -> None:
    installation.store.add_tasks(9)
    installation.setup(PLAN)

    for ids in ([2, 3], [5], [7, 3]):
        event = {"action": "TASKS_CREATED", "project": {"id": 1}, "tasks": [{"id": one} for one in ids]}
        assert installation.backend.ask("/webhook", event)[0] == 201
    installation.backend.wait_until(lambda: bool(installation.runs()) and installation.runs()[0]["state"] == "finished")

    assert installation.predictions() == {2: 1, 3: 1, 5: 1, 7: 1}
    assert len(installation.runs()) == 1


def test_imports_start_no_run_without_the_setting(installation: Installation) -> None:
    installation.setup(PLAN)

    installation.backend.ask("/webhook", {"action": "TASKS_CREATED", "project": {"id": 1}, "tasks": [{"id": 1}]})
    time.sleep(4)

    assert installation.runs() == []


def test_tasks_are_predicted_with_the_version_that_setup_returned(installation: Installation) -> None:
    without = installation.setup(None)
    assert installation.predict(1, 2) == [[], []]
    (refusal,) = installation.runs()  # says why there were no predictions
    assert refusal["state"] == "failed"

    version = installation.setup(PLAN)
    results = installation.predict(1, 2)

    assert version != without
    assert [one["model_version"] for one in results] == [version, version]
    assert all(one["result"] for one in results)
    assert [one["task"] for one in results] == [1, 2]
    assert installation.predict(3, predictions=[{"model_version": version}]) == [[]]
    assert [run["id"] for run in installation.runs()] == [refusal["id"]]


def test_the_second_of_two_equal_requests_for_an_opened_task_gets_nothing(installation: Installation) -> None:
    installation.setup(PLAN)

    first, second = installation.predict(1), installation.predict(1)

    assert first[0]["result"]
    assert second == [[]]


@pytest.mark.parametrize(
    "installation", [{"SAM_BATCH_PREDICT_TIMEOUT_S": "0.1", "SAM_ALLOW_PRIVATE_ADDRESSES": "true"}], indirect=True
)
def test_what_is_not_ready_in_time_is_written_by_a_run(installation: Installation) -> None:
    installation.store.add_tasks(3)
    version = installation.setup(PLAN)
    batch_is_answered = threading.Event()

    def answer(_: Asked) -> Answer:  # the second image arrives only after the answer to the batch
        batch_is_answered.wait(30)
        return Answer(base64.b64decode(disc_image().partition(",")[2]))

    with serving(answer) as server:
        installation.store.tasks[2] = {"image": f"{server.url}/a.png"}
        results = installation.predict(1, 2, 3)
        batch_is_answered.set()
        late = [task for task, one in zip((1, 2, 3), results, strict=True) if not one]
        installation.backend.wait_until(
            lambda: bool(installation.runs()) and installation.runs()[0]["state"] == "finished"
        )

    assert 2 in late
    assert installation.predictions() == dict.fromkeys(late, 1)
    assert installation.runs()[0]["model_version"] == version


@pytest.mark.parametrize(
    ("path", "body", "status", "complaint"),
    [
        ("/api/runs", {}, 400, "project must be a number, not None"),
        ("/api/runs", {"project": 1, "detector": "best.pt"}, 400, "detector='best.pt' is not one of"),
        ("/api/runs", {"project": 1, "model": "/etc/passwd"}, 400, "model='/etc/passwd' is not one of auto"),
        ("/api/runs", {"project": 1, "ray_address": "evil:6379"}, 400, "ray_address is for the command line only"),
        ("/api/runs", {"project": 1, "policy": "replace"}, 400, "policy='replace' is not one of skip"),
        ("/api/runs", {"project": 1, "filter": {"ids": []}}, 400, "filter.ids is empty"),
        ("/api/runs", [], 400, "the body must be a JSON object"),
        ("/api/runs/preview", {"project": 1, "tasks": 9}, 400, "tasks=9 is not between 1 and 8"),
        ("/api/runs/nowhere/cancel", {}, 404, "there is no run 'nowhere'"),
    ],
)
def test_bad_input_gets_its_status_and_names_field_and_value(
    path: str, body: object, status: int, complaint: str
) -> None:
    response = SamService().client.post(path, json=body)

    assert response.status_code == status
    assert complaint in response.get_json()["error"]


def test_a_post_without_the_content_type_of_json_is_refused() -> None:
    response = SamService().client.post("/api/runs", data='{"project": 1}', content_type="text/plain")

    assert response.status_code == 415
    assert "application/json" in response.get_json()["error"]


def test_without_a_token_a_run_is_refused_with_the_fix() -> None:
    response = SamService().client.post("/api/runs", json={"project": 1, "model": "classical"})

    assert response.status_code == 502
    assert "create a personal access token" in response.get_json()["error"]


@pytest.mark.parametrize("trouble", ["project", "token", "config"])
def test_an_error_of_label_studio_reaches_the_caller(installation: Installation, trouble: str) -> None:
    if trouble == "token":
        installation.store.is_allowed = False
    if trouble == "config":
        installation.store.config = "<View><Text name='t' value='$t'/></View>"

    status, answer = installation.backend.ask("/api/runs", {**EVERYTHING, "project": 2 if trouble == "project" else 1})

    expected = {
        "project": (404, "could not read project 2: it does not exist"),
        "token": (502, "refused the legacy token"),
    }
    wanted, complaint = expected.get(trouble, (400, "no <Image>"))
    assert status == wanted
    assert complaint in answer["error"]


@pytest.mark.parametrize("installation", [{"SAM_RUNS_DIR": "", "XDG_STATE_HOME": "/proc/nowhere"}], indirect=True)
def test_a_folder_that_cannot_be_written_to_stops_runs_only(installation: Installation) -> None:
    status, answer = installation.backend.ask("/api/runs", EVERYTHING)

    assert status == 503
    assert "SAM_RUNS_DIR" in answer["error"]
    assert installation.backend.ask("/health")[0] == 200
    assert installation.predict(1) == [[]]
    checks = {check["name"]: check for check in installation.backend.ask("/api/status")[1]["checks"]}
    assert "the folder of the runs cannot be used" in checks["Runs"]["problem"]
    listed = installation.backend.ask("/api/runs")
    assert (listed[0], listed[1]["runs"]) == (200, [])
    assert "the folder of the runs cannot be used" in listed[1]["problem"]
    assert checks["Model"]["ok"]


def test_two_projects_of_the_same_number_keep_their_own_extra_parameters(installation: Installation) -> None:
    installation.store.add_tasks(2)
    installation.setup(PLAN)
    foreign = {"project": "1.5", "schema": CONFIG, "hostname": "", "access_token": ""}
    installation.backend.ask("/setup", {**foreign, "extra_params": {"detector": "boxes"}})

    installation.backend.ask("/webhook", {"action": "START_TRAINING", "project": {"id": 1}})
    installation.backend.wait_until(lambda: bool(installation.runs()) and installation.runs()[0]["state"] == "finished")

    assert installation.runs()[0]["configuration"]["detector"] == "everything"
