"""Predictions for a batch before its deadline, and for a task that is opened; time is a number here."""

import gc
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from sam_backend.errors import ModelNotReadyError
from sam_backend.images.fetch import ImageCredentials
from sam_backend.preannotation.outcome import BulkTask, Outcome
from sam_backend.protocol.requests import Task
from sam_backend.segmenter.choice import ModelChoice
from sam_backend.segmenter.loading import ModelLoading
from sam_backend.segmenter.models import Models
from sam_backend.service.batch_predictions import (
    OPENED_AFTER_SETUP_S,
    REPEATED_REQUEST_S,
    Answer,
    BatchPredictions,
)
from sam_backend.service.project_registry import ProjectRegistry
from sam_backend.settings import Settings
from sam_model.weights.errors import WeightsUnavailableError
from sam_model.weights.store import store_from_env
from sam_testing.disc_segmenter import DiscSegmenter
from sam_testing.service import SamService
from sam_testing.waiting import wait_until

BATCH_S, OPENED_S = 60.0, 5.0


class FakePreannotator:
    """A prediction for each task, at a cost on the test's clock; task 13 fails."""

    def __init__(self, batch: "Batch") -> None:
        self._batch = batch

    def fetch(self, task: BulkTask) -> BulkTask:
        return task

    def annotate(self, task: BulkTask) -> Outcome:
        self._batch.now += self._batch.seconds_per_task
        if task.id == 13:
            return Outcome(task.id, error="no image")
        return Outcome(task.id, prediction=orjson.dumps({"task": task.id}))


@dataclass
class Batch:
    """`BatchPredictions` with a clock and a loader of the test."""

    seconds_per_task: float = 0.0
    batch_s: float = BATCH_S
    now: float = 100.0
    loaded: int = 0
    error: Exception | None = None
    late: list[tuple[int, Sequence[int]]] = field(default_factory=list)
    failures: list[tuple[int, str]] = field(default_factory=list)
    may_load: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.may_load.set()
        settings = Settings(batch_predict_timeout_s=self.batch_s, task_open_timeout_s=OPENED_S)
        self.models = Models(ModelLoading(ModelChoice("disc", "disc-1", lambda _: DiscSegmenter())))
        store = store_from_env({"SAM_OFFLINE": "1"})
        self.projects = ProjectRegistry(settings, self.models, store, clock=lambda: self.now)
        self.projects.learn(1, b'{"detector": "boxes"}')
        configuration = self.projects.configuration(1)
        assert configuration is not None
        self.version = self.projects.version(configuration)
        self.predictions = BatchPredictions(
            settings,
            self.projects,
            self._load,
            lambda *late: self.late.append(late),
            lambda *failure: self.failures.append(failure),
            clock=lambda: self.now,
        )

    def _load(self, *_: object) -> Any:
        self.loaded += 1
        self.may_load.wait(30)
        if self.error is not None:
            raise self.error
        return FakePreannotator(self)

    def predict(
        self,
        *ids: int | None,
        project: int | None = 1,
        versions: Sequence[str] = (),
        labeling_config: str = "<View/>",
    ) -> list[Any] | None:
        tasks = [Task(one, project, versions=frozenset(versions)) for one in ids]
        answers = self.predictions.predict(tasks, labeling_config, ImageCredentials())
        return None if answers is None else [_parsed(answer) for answer in answers]


def _parsed(answer: Answer) -> Any:
    return orjson.loads(orjson.dumps(answer))


def test_every_task_gets_an_item_in_the_order_of_the_request() -> None:
    batch = Batch()

    answers = batch.predict(3, None, 1, 2)

    assert answers == [{"task": 3}, [], {"task": 1}, {"task": 2}]
    assert batch.late == []


@pytest.mark.parametrize("project", [None, 2])
def test_a_project_without_pre_annotation_gets_none(project: int | None) -> None:
    batch = Batch()

    assert batch.predict(1, project=project) is None
    assert batch.predict() is None
    assert batch.loaded == 0


def config_with_labels(*names: str) -> str:
    labels = "".join(f'<Label value="{name}"/>' for name in names)
    return (
        '<View><Image name="image" value="$image"/>'
        f'<BrushLabels name="brush" toName="image">{labels}</BrushLabels></View>'
    )


def test_in_a_new_project_with_one_label_a_batch_and_a_test_request_get_predictions_and_an_opened_task_none() -> None:
    batch = Batch()
    batch.projects.learn(2, None)
    one_label = config_with_labels("Cell")

    opened = batch.predict(1, project=2, labeling_config=one_label)
    several = batch.predict(1, 2, project=2, labeling_config=one_label)
    batch.now += OPENED_AFTER_SETUP_S + 1  # the last POST /setup is not part of this request
    tested = batch.predict(1, project=2, labeling_config=one_label)

    assert opened is None
    assert several == [{"task": 1}, {"task": 2}]
    assert tested == [{"task": 1}]
    assert batch.failures == []


def test_in_a_new_project_with_several_labels_the_refusal_is_in_the_list_of_runs_and_in_a_test_requests_answer() -> (
    None
):
    batch = Batch()
    batch.projects.learn(2, None)
    two_labels = config_with_labels("Cat", "Dog")

    several = batch.predict(1, 2, project=2, labeling_config=two_labels)
    batch.now += OPENED_AFTER_SETUP_S + 1
    tested = batch.predict(1, project=2, labeling_config=two_labels)

    assert several == [[], []]
    assert tested is not None
    assert "project 2 has 2 labels (Cat, Dog)" in tested[0]["problem"]
    assert batch.failures == 2 * [(2, tested[0]["problem"])]
    assert batch.loaded == 0


def test_where_label_studio_takes_regions_without_label_several_labels_are_no_refusal() -> None:
    batch = Batch()
    batch.projects.learn(2, None)
    with_brush = (
        '<View><Image name="image" value="$image"/><Brush name="brush" toName="image"/>'
        '<Labels name="labels" toName="image"><Label value="Cat"/><Label value="Dog"/></Labels></View>'
    )

    assert batch.predict(1, 2, project=2, labeling_config=with_brush) == [{"task": 1}, {"task": 2}]


def test_a_task_that_has_a_prediction_of_this_version_gets_no_other() -> None:
    batch = Batch()

    assert batch.predict(1, 2, versions=["other", batch.version]) == [[], []]
    assert batch.predict(1, 2, versions=["other"]) == [{"task": 1}, {"task": 2}]
    assert batch.late == []


def test_tasks_after_the_deadline_go_to_a_run() -> None:
    batch = Batch(seconds_per_task=BATCH_S + 1)

    answers = batch.predict(1, 2, 3, 4, 5, 6, 7, 8, 9)

    assert answers is not None
    ready = [one["task"] for one in answers if one]
    assert batch.late == [(1, [number for number in range(1, 10) if number not in ready])]
    assert len(ready) < 9


def test_tasks_go_to_a_run_while_the_models_load_and_later_batches_do_not_load_them_again() -> None:
    batch = Batch(batch_s=0.01)
    batch.may_load.clear()

    while_loading = batch.predict(1, 2)
    late = list(batch.late)
    batch.may_load.set()
    while (later := batch.predict(3, 4)) == [[], []]:
        pass

    assert while_loading == [[], []]
    assert late == [(1, [1, 2])]
    assert later == [{"task": 3}, {"task": 4}]
    assert batch.loaded == 1


def test_missing_weights_are_an_error_and_the_next_batch_loads_again() -> None:
    batch = Batch(error=WeightsUnavailableError("yolov8n.pt is missing"))

    with pytest.raises(ModelNotReadyError, match=r"project 1: yolov8n\.pt is missing"):
        batch.predict(1, 2)
    batch.error = None

    assert batch.predict(1, 2) == [{"task": 1}, {"task": 2}]
    assert batch.loaded == 2


def test_a_task_that_fails_gets_nothing_and_no_run_tries_it_again(caplog: pytest.LogCaptureFixture) -> None:
    batch = Batch()

    assert batch.predict(13, 1) == [[], {"task": 1}]
    assert "task 13: no image" in caplog.text
    assert batch.late == []


def test_the_second_of_two_equal_requests_for_an_opened_task_gets_nothing() -> None:
    batch = Batch()

    first, second, other = batch.predict(1), batch.predict(1), batch.predict(2)
    batch.now += OPENED_S + REPEATED_REQUEST_S
    later = batch.predict(1)

    assert (first, second, other, later) == ([{"task": 1}], [[]], [{"task": 2}], [{"task": 1}])
    assert batch.late == []


def test_batches_of_one_project_load_its_models_once_and_come_one_after_another() -> None:
    batch = Batch()
    running: list[int] = []
    most = 0
    lock = threading.Lock()
    annotate = FakePreannotator.annotate

    def counted(self: FakePreannotator, task: BulkTask) -> Outcome:
        nonlocal most
        with lock:
            running.append(task.id)
            most = max(most, len(running))
        try:
            return annotate(self, task)
        finally:
            with lock:
                running.remove(task.id)

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(4) as threads:
        patch.setattr(FakePreannotator, "annotate", counted)
        found = list(threads.map(lambda number: batch.predict(number, number + 100), range(4)))

    assert found == [[{"task": number}, {"task": number + 100}] for number in range(4)]
    assert batch.loaded == 1
    assert most == 1


def test_after_a_switch_to_other_weights_of_the_same_name_the_models_are_loaded_again() -> None:
    batch = Batch()

    before = batch.predict(1, 2)
    batch.models.switch_to("disc", lambda: ModelChoice("disc", "disc-2", lambda _: DiscSegmenter()))
    wait_until(lambda: batch.models.default.version == "disc-2")

    assert batch.predict(1, 2) == before == [{"task": 1}, {"task": 2}]
    assert batch.loaded == 2


def test_a_switch_frees_the_segmenter_that_clicks_and_pre_annotation_used() -> None:
    service = SamService(Settings(model="classical"), load=lambda _: DiscSegmenter())
    parts = service.parts
    former = weakref.ref(parts.models.default.segmenter(10))
    parts.projects.learn(7, b'{"detector": "boxes"}')
    tasks = [Task(number, 7, data={"image": "/data/upload/1/image.png"}) for number in (1, 2)]
    answers = parts.batch_predictions.predict(tasks, config_with_labels("Cell"), ImageCredentials())
    assert [_parsed(answer)["result"] for answer in answers or ()] == [[], []]

    parts.models.switch_to("new", lambda: ModelChoice("new", "new-1", lambda _: DiscSegmenter()))
    wait_until(lambda: parts.models.default.name == "new")

    del service.model  # the test's own
    wait_until(lambda: gc.collect() >= 0 and former() is None)
