from collections.abc import Iterator
from pathlib import Path

import pytest

from sam_backend.label_studio.client import LabelStudioApiError, LabelStudioClient
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.label_studio.retry_policy import RetryPolicy, StoppedError
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.preannotation.provenance import model_version, region_id, score_without_regions
from sam_backend.runs.ledger import UNDONE, WRITTEN
from sam_backend.runs.run_store import Run, RunStore
from sam_backend.runs.undo import CHUNK_TASKS, undo_run
from sam_testing.fake_label_studio import TOKEN, Store, fake_label_studio

VERSION = model_version("classical", "classical", "0123456789abcdef")


class Fixture:
    """A run that wrote one prediction for each of 100 tasks into a fake Label Studio."""

    def __init__(self, url: str, store: Store, folder: Path) -> None:
        self.store, self.run = store, RunStore(folder).create(RunConfiguration(1))
        self.api = LabelStudioClient(LabelStudioCredentials(url, TOKEN))
        tasks = store.add_tasks(100, image="data:,")
        self.run.ledger.list_tasks(tasks, last_listed=100, is_listed=True)
        self.run.ledger.start_sending(dict.fromkeys(tasks, 1))
        self.run.ledger.finish(WRITTEN, tasks)
        for task in tasks:
            self.add(task, self.run.id)

    def add(self, task: int, run_id: str, version: str = VERSION, regions: int = 1) -> int:
        result = [{"id": region_id(run_id, task, number)} for number in range(regions)]
        score = 0.5 if regions else score_without_regions(run_id)
        return self.store.add_prediction(task, result=result, model_version=version, score=score)

    def undo(self, stop_after_deletions: int | None = None) -> None:
        before = self.left()

        def is_stopping() -> bool:
            return stop_after_deletions is not None and before - self.left() >= stop_after_deletions

        undo_run(self.run, self.api, RetryPolicy(lambda: False, 20, lambda message: None), is_stopping)

    def left(self) -> int:
        return sum(len(found) for found in self.store.predictions.values())


@pytest.fixture
def fixture(tmp_path: Path) -> Iterator[Fixture]:
    store = Store()
    with fake_label_studio(store) as url:
        yield Fixture(url, store, tmp_path / "runs")


def undone(run: Run) -> int:
    return run.progress().counts.undone


def test_an_undo_deletes_the_runs_predictions_and_no_others(fixture: Fixture) -> None:
    kept = {
        fixture.add(1, "251124-aaaaaa"),  # of another run
        fixture.add(2, fixture.run.id, version="somebody else"),
        fixture.add(3, "251124-aaaaaa", regions=0),
    }
    fixture.add(4, fixture.run.id, regions=0)

    fixture.undo()

    assert {one["id"] for found in fixture.store.predictions.values() for one in found} == kept
    assert undone(fixture.run) == 100
    assert fixture.run.ledger.tasks_in(WRITTEN) == []


def test_an_undo_that_was_stopped_continues_where_it_stopped(fixture: Fixture) -> None:
    with pytest.raises(StoppedError):
        fixture.undo(stop_after_deletions=1)

    assert undone(fixture.run) == CHUNK_TASKS
    assert fixture.left() == 100 - CHUNK_TASKS
    fixture.undo()

    assert fixture.left() == 0
    assert len(fixture.run.ledger.tasks_in(UNDONE)) == 100


def test_a_prediction_that_a_person_deleted_before_does_not_stop_the_undo(fixture: Fixture) -> None:
    fixture.store.predictions[5].clear()

    fixture.undo()

    assert fixture.left() == 0
    assert undone(fixture.run) == 100


def test_transient_errors_are_retried_and_a_refusal_ends_the_undo_with_the_rest_still_written(fixture: Fixture) -> None:
    failures = iter(["502", "reset", "429"])
    fixture.store.fault = lambda method, path: next(failures, "") if method == "DELETE" else ""
    with pytest.raises(StoppedError):
        fixture.undo(stop_after_deletions=1)
    fixture.store.fault, fixture.store.is_allowed = None, False

    with pytest.raises(LabelStudioApiError) as refused:
        fixture.undo()

    assert refused.value.status == 401
    assert undone(fixture.run) == CHUNK_TASKS
    fixture.store.is_allowed = True
    fixture.undo()
    assert fixture.left() == 0
