import threading
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
from sam_testing.waiting import wait_until

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


class RunEnvironment:
    """A fake Label Studio, a run store, and a worker for its runs."""

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
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunEnvironment]:
    monkeypatch.setattr(prediction_writer, "SETTLE_S", 0.2)
    store = Store()
    with fake_label_studio(store) as url:
        yield RunEnvironment(url, store, tmp_path / "runs")


def test_every_task_gets_one_prediction_and_the_counts_say_so(env: RunEnvironment) -> None:
    env.store.add_tasks(230)
    env.empty = (7,)

    progress = env.work(env.create())

    assert progress.state == "finished"
    assert env.predictions == dict.fromkeys(range(1, 231), 1)
    counts = progress.counts
    assert (counts.total, counts.written, counts.empty, counts.objects) == (230, 230, 1, 229)
    assert progress.labels == {"person": 229}


def test_the_real_stages_write_what_the_detector_finds(env: RunEnvironment) -> None:
    env.store.add_tasks(3)

    progress = env.work(env.create(detector="everything", label_map={"object": "face"}), real=True)

    assert progress.state == "finished", progress.message
    assert progress.counts.written == 3
    assert progress.labels["face"] >= 3


def test_a_failed_task_is_named_and_retry_takes_only_it(env: RunEnvironment) -> None:
    env.store.add_tasks(5)
    env.broken = (3,)
    run = env.create()
    env.work(run)

    assert run.failures() == [(3, "the image is not there")]
    env.broken = ()
    assert run.retry() == 1
    progress = env.work(run)

    assert env.executor is not None
    assert env.executor.seen == [3]
    assert (progress.counts.written, progress.counts.failed) == (5, 0)
    assert env.predictions == dict.fromkeys(range(1, 6), 1)


def test_skip_skips_what_has_this_version_and_add_does_not(env: RunEnvironment) -> None:
    env.store.add_tasks(4)
    env.work(env.create())
    env.store.add_tasks(1)

    again = env.work(env.create())
    assert (again.counts.written, again.counts.skipped) == (1, 4)
    added = env.work(env.create(policy="add"))

    assert added.counts.written == 5
    assert env.predictions == dict.fromkeys(range(1, 6), 2)


def test_replace_own_leaves_other_peoples_predictions_alone(env: RunEnvironment) -> None:
    env.store.add_tasks(2)
    env.store.add_prediction(1, result=[{"id": "x"}], model_version="somebody else")
    env.work(env.create())

    env.work(env.create(policy="replace-own", max_detections=5))

    assert sorted(version.split()[0] for version in env.store.versions(1)) == ["label-studio-sam", "somebody"]
    assert len(env.store.versions(2)) == 1


def test_undo_removes_exactly_what_the_run_wrote(env: RunEnvironment) -> None:
    env.store.add_tasks(3)
    env.empty = (2,)
    first, second = env.create(), env.create(policy="add")
    env.store.add_prediction(1, result=[{"id": "x"}], model_version="somebody else")
    env.work(first)
    env.work(second)

    second.request("undo")
    progress = env.work(second)

    assert progress.state == "undone"
    assert progress.counts.undone == 3
    assert env.predictions == {1: 2, 2: 1, 3: 1}


@pytest.mark.parametrize("trouble", [(500, False), (502, True), (0, True), (0, False), (429, False)])
def test_an_import_that_breaks_loses_nothing_and_doubles_nothing(
    env: RunEnvironment, trouble: tuple[int, bool]
) -> None:
    env.store.add_tasks(120)
    env.store.troubles = [trouble, trouble]

    progress = env.work(env.create())

    assert progress.state == "finished"
    assert env.predictions == dict.fromkeys(range(1, 121), 1)
    assert progress.counts.written == 120


def test_what_label_studio_drops_silently_is_found(env: RunEnvironment) -> None:
    env.store.add_tasks(60)
    env.store.dropped_tasks = {17}
    run = env.create()

    progress = env.work(run)

    assert (progress.counts.written, progress.counts.failed) == (59, 1)
    assert run.failures() == [(17, "Label Studio refused the prediction: it does not fit the labeling config")]


def test_a_task_that_is_deleted_meanwhile_fails_alone(env: RunEnvironment) -> None:
    env.store.add_tasks(30)
    run = env.create()
    executor_for = env.executor_for

    def deleting(preannotator: Preannotator) -> OneRegionEach:
        executor = executor_for(preannotator)
        tasks = executor.run

        def run_and_delete(*arguments: Any) -> Iterator[Outcome]:
            for outcome in tasks(*arguments):
                env.store.tasks.pop(20, None)
                yield outcome

        executor.run = run_and_delete  # type: ignore[method-assign]
        return executor

    env.executor_for = deleting  # type: ignore[method-assign]
    progress = env.work(run)

    assert progress.counts.written == 29
    assert run.failures() == [(20, "the task is no longer in the project")]


def test_a_config_that_changes_meanwhile_ends_the_run_with_its_reason(env: RunEnvironment) -> None:
    env.store.add_tasks(10)
    env.store.dropped_tasks = {4}
    run = env.create()
    executor_for = env.executor_for

    def changing(preannotator: Preannotator) -> OneRegionEach:
        env.store.config = env.store.config.replace("person", "pedestrian")
        return executor_for(preannotator)

    env.executor_for = changing  # type: ignore[method-assign]
    progress = env.work(run)

    assert progress.state == "failed"
    assert "labeling config of project 1 was changed" in progress.message
    assert run.ledger.tasks_in(PENDING) == [4]


def test_a_wrong_token_says_what_to_do(env: RunEnvironment) -> None:
    progress = env.work(env.create(), token="f" * 40)

    assert progress.state == "failed"
    assert "LABEL_STUDIO_API_KEY" in progress.message
    assert "f" * 40 not in progress.message


def test_a_config_without_a_tag_for_masks_fails_the_run_with_the_fix(env: RunEnvironment) -> None:
    env.store.config = '<View><Image name="image" value="$image"/></View>'

    progress = env.work(env.create())

    assert progress.state == "failed"
    assert "add one for the regions" in progress.message


class HangingExecutor:
    """A stage that hangs until the test releases it."""

    def __init__(self) -> None:
        self.is_released = threading.Event()

    def run(self, tasks: Iterable[BulkTask], is_stopping: Callable[[], bool]) -> Iterator[Outcome]:
        next(iter(tasks))
        self.is_released.wait()
        yield Outcome(1, error="too late")


@pytest.mark.parametrize(("action", "state"), [("pause", "paused"), ("cancel", "cancelled")])
def test_a_run_whose_stage_hangs_is_left_within_two_seconds(env: RunEnvironment, action: str, state: str) -> None:
    env.store.add_tasks(3)
    hanging = HangingExecutor()
    env.executor_for = lambda preannotator: hanging  # type: ignore[assignment, method-assign, return-value]
    run = env.create()
    ended = threading.Event()
    worker = threading.Thread(target=lambda: (env.work(run), ended.set()))
    worker.start()
    wait_until(lambda: run.is_locked and run.progress().counts.total is not None)

    run.request(action)

    assert ended.wait(2.0)
    assert run.progress().state == state
    hanging.is_released.set()
    worker.join()


def test_a_paused_run_continues_where_it_was(env: RunEnvironment) -> None:
    env.store.add_tasks(300)
    run = env.create()
    executor_for = env.executor_for

    def pausing(preannotator: Preannotator) -> OneRegionEach:
        executor = executor_for(preannotator)
        tasks = executor.run

        def run_and_pause(source: Iterable[BulkTask], is_stopping: Callable[[], bool]) -> Iterator[Outcome]:
            for number, outcome in enumerate(tasks(source, is_stopping)):
                if number == 250:
                    wait_until(lambda: run.progress().counts.written > 0)
                    run.request("pause")
                    wait_until(is_stopping)
                yield outcome

        executor.run = run_and_pause  # type: ignore[method-assign]
        return executor

    env.executor_for = pausing  # type: ignore[method-assign]
    paused = env.work(run)
    assert paused.state == "paused"
    assert 0 < paused.counts.written < 300

    run.request("resume")
    env.executor_for = executor_for  # type: ignore[method-assign]
    progress = env.work(run)

    assert progress.state == "finished"
    assert env.predictions == dict.fromkeys(range(1, 301), 1)
    assert progress.counts.written == 300


def test_what_was_being_sent_when_the_process_died_is_looked_up(env: RunEnvironment) -> None:
    from sam_backend.preannotation.provenance import region_id

    env.store.add_tasks(4)
    run = env.create()
    run.ledger.list_tasks([1, 2, 3], last_listed=3, is_listed=False)
    run.ledger.start_sending({1: 1, 2: 1})
    version = "label-studio-sam classical+classical 00000000"
    env.store.add_prediction(1, result=[{"id": region_id(run.id, 1, 0)}], model_version=version)

    progress = env.work(run)

    assert progress.counts.written == 4
    assert env.predictions == dict.fromkeys(range(1, 5), 1)
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
def test_only_the_tasks_asked_for_are_done(env: RunEnvironment, wanted: TaskFilter, tasks: list[int]) -> None:
    env.store.add_tasks(6)
    env.store.annotations[2] = [{"id": 1, "result": []}]
    env.store.add_prediction(6, result=[], model_version="somebody else")

    env.work(env.create(filter=wanted))

    assert env.executor is not None
    assert env.executor.seen == tasks


def test_show_makes_the_predictions_the_ones_that_people_see(env: RunEnvironment) -> None:
    env.store.add_tasks(1)

    progress = env.work(env.create(show=True))

    assert env.store.model_version == progress.model_version


def test_boxes_of_the_task_become_masks_with_their_label(env: RunEnvironment) -> None:
    env.store.add_tasks(2)
    value = {"x": 25, "y": 20, "width": 50, "height": 60, "rotation": 0, "rectanglelabels": ["face"]}
    region = {"id": "r", "type": "rectanglelabels", "from_name": "box", "to_name": "image", "value": value}
    env.store.annotations[1] = [{"id": 1, "result": [region]}]

    progress = env.work(env.create(detector="boxes"), real=True)

    assert progress.labels == {"face": 1}
    assert (progress.counts.written, progress.counts.empty) == (2, 1)
