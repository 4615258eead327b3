import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.preannotation.configuration import RunConfiguration, TaskFilter
from sam_backend.preannotation.outcome import BulkTask, Outcome
from sam_backend.preannotation.preannotator import Preannotator
from sam_backend.runs import prediction_writer
from sam_backend.runs.ledger import PENDING, SENDING
from sam_backend.runs.progress import RunProgress
from sam_backend.runs.run_store import Run, RunStore
from sam_backend.runs.runner import work_on
from sam_backend.settings import Settings
from sam_model.weights.store import store_from_env
from sam_testing.fake_label_studio import TOKEN, Store, fake_label_studio

CLASSICAL = Settings(model="classical")


class OneRegionEach:
    """Predicts one region for every task at no cost; tasks in `broken` fail, tasks in `empty` have no region."""

    def __init__(self, preannotator: Preannotator, broken: tuple[int, ...] = (), empty: tuple[int, ...] = ()) -> None:
        self.preannotator, self.broken, self.empty = preannotator, broken, empty
        self.seen: list[int] = []

    def run(self, tasks: Iterable[BulkTask], is_stopping: Callable[[], bool]) -> Iterator[Outcome]:
        from sam_backend.preannotation.provenance import region_id, score_without_regions

        run_id = self.preannotator.run_id
        for task in tasks:
            if is_stopping():
                return
            self.seen.append(task.id)
            if task.id in self.broken:
                yield Outcome(task.id, error="the image is not there")
                continue
            result = [] if task.id in self.empty else [{"id": region_id(run_id, task.id, 0)}]
            score = 0.5 if result else score_without_regions(run_id)
            prediction = {
                "task": task.id, "result": result, "score": score, "model_version": self.preannotator.version
            }  # fmt: skip
            yield Outcome(task.id, orjson.dumps(prediction), labels={"person": 1} if result else {})


class House:
    """A fake Label Studio, a run store, and what works on runs."""

    def __init__(self, url: str, store: Store, folder: Path) -> None:
        self.url, self.store, self.runs = url, store, RunStore(folder)
        self.broken: tuple[int, ...] = ()
        self.empty: tuple[int, ...] = ()
        self.said: list[str] = []
        self.executor: OneRegionEach | None = None

    def create(self, **asked: Any) -> Run:
        return self.runs.create(RunConfiguration(1, **asked))

    def executor_for(self, preannotator: Preannotator) -> OneRegionEach:
        self.executor = OneRegionEach(preannotator, self.broken, self.empty)
        return self.executor

    def work(self, run: Run, *, token: str = TOKEN, real: bool = False, give_up_after_s: float = 20) -> RunProgress:
        return work_on(
            run,
            settings=CLASSICAL,
            access=LabelStudioCredentials(self.url, token),
            store=store_from_env({"SAM_OFFLINE": "1"}),
            notify=self.said.append,
            executor_for=None if real else self.executor_for,
            give_up_after_s=give_up_after_s,
        )

    @property
    def predictions(self) -> dict[int, int]:
        return {task: len(found) for task, found in self.store.predictions.items() if found}


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(prediction_writer, "SETTLE_S", 0.2)
    store = Store()
    with fake_label_studio(store) as url:
        yield House(url, store, tmp_path / "runs")


def test_every_task_gets_one_prediction_and_the_counts_say_so(house: House) -> None:
    house.store.add_tasks(230)
    house.empty = (7,)

    progress = house.work(house.create())

    assert progress.state == "finished"
    assert house.predictions == dict.fromkeys(range(1, 231), 1)
    counts = progress.counts
    assert (counts.total, counts.written, counts.empty, counts.objects) == (230, 230, 1, 229)
    assert progress.labels == {"person": 229}


def test_the_real_stages_write_what_the_detector_finds(house: House) -> None:
    house.store.add_tasks(3)

    progress = house.work(house.create(detector="everything", label_map={"object": "face"}), real=True)

    assert progress.state == "finished", progress.message
    assert progress.counts.written == 3
    assert progress.labels["face"] >= 3


def test_a_failed_task_is_named_and_retry_takes_only_it(house: House) -> None:
    house.store.add_tasks(5)
    house.broken = (3,)
    run = house.create()
    house.work(run)

    assert run.failures() == [(3, "the image is not there")]
    house.broken = ()
    assert run.retry() == 1
    progress = house.work(run)

    assert house.executor is not None
    assert house.executor.seen == [3]
    assert (progress.counts.written, progress.counts.failed) == (5, 0)
    assert house.predictions == dict.fromkeys(range(1, 6), 1)


def test_skip_passes_over_what_has_this_version_and_add_does_not(house: House) -> None:
    house.store.add_tasks(4)
    house.work(house.create())
    house.store.add_tasks(1)

    again = house.work(house.create())
    assert (again.counts.written, again.counts.skipped) == (1, 4)
    added = house.work(house.create(policy="add"))

    assert added.counts.written == 5
    assert house.predictions == dict.fromkeys(range(1, 6), 2)


def test_replace_own_leaves_other_peoples_predictions_alone(house: House) -> None:
    house.store.add_tasks(2)
    house.store.add_prediction(1, result=[{"id": "x"}], model_version="somebody else")
    house.work(house.create())

    house.work(house.create(policy="replace-own", max_detections=5))

    assert sorted(version.split()[0] for version in house.store.versions(1)) == ["label-studio-sam", "somebody"]
    assert len(house.store.versions(2)) == 1


def test_undo_removes_exactly_what_the_run_wrote(house: House) -> None:
    house.store.add_tasks(3)
    house.empty = (2,)
    first, second = house.create(), house.create(policy="add")
    house.store.add_prediction(1, result=[{"id": "x"}], model_version="somebody else")
    house.work(first)
    house.work(second)

    second.request("undo")
    progress = house.work(second)

    assert progress.state == "undone"
    assert progress.counts.undone == 3
    assert house.predictions == {1: 2, 2: 1, 3: 1}


@pytest.mark.parametrize("trouble", [(500, False), (502, True), (0, True), (0, False), (429, False)])
def test_an_import_that_breaks_loses_nothing_and_doubles_nothing(house: House, trouble: tuple[int, bool]) -> None:
    house.store.add_tasks(120)
    house.store.troubles = [trouble, trouble]

    progress = house.work(house.create())

    assert progress.state == "finished"
    assert house.predictions == dict.fromkeys(range(1, 121), 1)
    assert progress.counts.written == 120


def test_what_label_studio_drops_silently_is_found(house: House) -> None:
    house.store.add_tasks(60)
    house.store.dropped_tasks = {17}
    run = house.create()

    progress = house.work(run)

    assert (progress.counts.written, progress.counts.failed) == (59, 1)
    assert run.failures() == [(17, "Label Studio refused the prediction: it does not fit the labeling config")]


def test_a_task_that_is_deleted_meanwhile_fails_alone(house: House) -> None:
    house.store.add_tasks(30)
    run = house.create()
    executor_for = house.executor_for

    def deleting(preannotator: Preannotator) -> OneRegionEach:
        executor = executor_for(preannotator)
        tasks = executor.run

        def run_and_delete(*arguments: Any) -> Iterator[Outcome]:
            for outcome in tasks(*arguments):
                house.store.tasks.pop(20, None)
                yield outcome

        executor.run = run_and_delete  # type: ignore[method-assign]
        return executor

    house.executor_for = deleting  # type: ignore[method-assign]
    progress = house.work(run)

    assert progress.counts.written == 29
    assert run.failures() == [(20, "the task is no longer in the project")]


def test_a_config_that_changes_meanwhile_ends_the_run_with_its_reason(house: House) -> None:
    house.store.add_tasks(10)
    house.store.dropped_tasks = {4}
    run = house.create()
    executor_for = house.executor_for

    def changing(preannotator: Preannotator) -> OneRegionEach:
        house.store.config = house.store.config.replace("person", "pedestrian")
        return executor_for(preannotator)

    house.executor_for = changing  # type: ignore[method-assign]
    progress = house.work(run)

    assert progress.state == "failed"
    assert "labeling config of project 1 was changed" in progress.message
    assert run.ledger.tasks_in(PENDING) == [4]


def test_a_wrong_token_says_what_to_do(house: House) -> None:
    progress = house.work(house.create(), token="f" * 40)

    assert progress.state == "failed"
    assert "LABEL_STUDIO_API_KEY" in progress.message
    assert "f" * 40 not in progress.message


def test_a_config_without_a_tag_for_masks_fails_the_run_with_the_fix(house: House) -> None:
    house.store.config = '<View><Image name="image" value="$image"/></View>'

    progress = house.work(house.create())

    assert progress.state == "failed"
    assert "add one for the regions" in progress.message


class Endless:
    """Predicts nothing for ever: a stage that hangs."""

    def run(self, tasks: Iterable[BulkTask], is_stopping: Callable[[], bool]) -> Iterator[Outcome]:
        next(iter(tasks))
        time.sleep(30)
        yield Outcome(1, error="never")


@pytest.mark.parametrize(("action", "state"), [("pause", "paused"), ("cancel", "cancelled")])
def test_a_run_whose_stage_hangs_is_left_within_two_seconds(house: House, action: str, state: str) -> None:
    house.store.add_tasks(3)
    house.executor_for = lambda preannotator: Endless()  # type: ignore[assignment, method-assign, return-value]
    run = house.create()
    ended = threading.Event()
    worker = threading.Thread(target=lambda: (house.work(run), ended.set()))
    worker.start()
    while not run.is_locked or run.progress().counts.total is None:
        time.sleep(0.05)

    run.request(action)

    assert ended.wait(2.0)
    assert run.progress().state == state
    worker.join()


def test_a_paused_run_goes_on_where_it_was(house: House) -> None:
    house.store.add_tasks(300)
    run = house.create()
    executor_for = house.executor_for

    def pausing(preannotator: Preannotator) -> OneRegionEach:
        executor = executor_for(preannotator)
        tasks = executor.run

        def run_and_pause(*arguments: Any) -> Iterator[Outcome]:
            for number, outcome in enumerate(tasks(*arguments)):
                if number == 250:
                    run.request("pause")
                    time.sleep(1)
                yield outcome

        executor.run = run_and_pause  # type: ignore[method-assign]
        return executor

    house.executor_for = pausing  # type: ignore[method-assign]
    paused = house.work(run)
    assert paused.state == "paused"
    assert 0 < paused.counts.written < 300

    run.request("resume")
    house.executor_for = executor_for  # type: ignore[method-assign]
    progress = house.work(run)

    assert progress.state == "finished"
    assert house.predictions == dict.fromkeys(range(1, 301), 1)
    assert progress.counts.written == 300


def test_what_was_being_sent_when_the_process_died_is_looked_up(house: House) -> None:
    from sam_backend.preannotation.provenance import region_id

    house.store.add_tasks(4)
    run = house.create()
    run.ledger.list_tasks([1, 2, 3], last_listed=3, is_listed=False)
    run.ledger.start_sending({1: 1, 2: 1})
    version = "label-studio-sam classical+classical 00000000"
    house.store.add_prediction(1, result=[{"id": region_id(run.id, 1, 0)}], model_version=version)

    progress = house.work(run)

    assert progress.counts.written == 4
    assert house.predictions == dict.fromkeys(range(1, 5), 1)
    assert run.ledger.tasks_in(SENDING) == []


@pytest.mark.parametrize(
    ("wanted", "tasks"),
    [
        (TaskFilter(ids=(2, 5)), [2, 5]),
        (TaskFilter(sample=3), [1, 3, 5]),
        (TaskFilter(without_annotations=True), [1, 3, 4, 5, 6]),
        (TaskFilter(without_predictions=True), [1, 2, 3, 4, 5]),
        (TaskFilter(state="labeled"), [2]),
        (TaskFilter(ids=(1, 2, 6), without_annotations=True), [1, 6]),
    ],
)
def test_only_the_tasks_asked_for_are_done(house: House, wanted: TaskFilter, tasks: list[int]) -> None:
    house.store.add_tasks(6)
    house.store.annotations[2] = [{"id": 1, "result": []}]
    house.store.add_prediction(6, result=[], model_version="somebody else")

    house.work(house.create(filter=wanted))

    assert house.executor is not None
    assert house.executor.seen == tasks


def test_show_makes_the_predictions_the_ones_that_people_see(house: House) -> None:
    house.store.add_tasks(1)

    progress = house.work(house.create(show=True))

    assert house.store.model_version == progress.model_version


def test_boxes_of_the_task_become_masks_with_their_label(house: House) -> None:
    house.store.add_tasks(2)
    value = {"x": 25, "y": 20, "width": 50, "height": 60, "rotation": 0, "rectanglelabels": ["face"]}
    region = {"id": "r", "type": "rectanglelabels", "from_name": "box", "to_name": "image", "value": value}
    house.store.annotations[1] = [{"id": 1, "result": [region]}]

    progress = house.work(house.create(detector="boxes"), real=True)

    assert progress.labels == {"face": 1}
    assert (progress.counts.written, progress.counts.empty) == (2, 1)
