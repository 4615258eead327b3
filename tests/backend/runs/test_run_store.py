import subprocess
import sys
from pathlib import Path

import pytest

from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.runs.ledger import PENDING, SENDING, SKIPPED, WRITTEN
from sam_backend.runs.origin import RunOrigin
from sam_backend.runs.run_store import RunLockedError, RunStateError, RunStore, RunStoreError, UnknownRunError


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def test_a_run_is_found_again_with_all_that_it_was_asked(store: RunStore, tmp_path: Path) -> None:
    configuration = RunConfiguration.from_json(
        {"project": 3, "detector": "boxes", "label_map": {"car": "Vehicle"}, "filter": {"ids": [4, 5]}}
    )

    run = store.create(configuration, RunOrigin("http://a", 3, title="Cars"))

    found = RunStore(tmp_path / "runs").get(run.id[:9])
    assert found.configuration == configuration
    assert found.progress().to_json()["project_title"] == "Cars"
    assert found.progress().state == "queued"
    assert [one.id for one in store.runs()] == [run.id]


def test_a_run_that_an_earlier_version_stored_is_read_with_the_new_field_names(store: RunStore) -> None:
    run = store.create(RunConfiguration(3))
    run.ledger.set_run(configuration='{"project": 3, "at_most": 5}', digest="914f7b50b84bbd8a")

    (found,) = store.runs()

    assert found.configuration == RunConfiguration(3, max_detections=5)


def test_what_is_not_there_is_named(store: RunStore) -> None:
    with pytest.raises(UnknownRunError, match="there is no run '9'"):
        store.get("9")


def test_a_folder_that_cannot_be_written_names_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(RunStoreError, match="SAM_RUNS_DIR") as raised:
        RunStore(tmp_path / "file" / "runs").create(RunConfiguration(1))

    assert str(tmp_path) not in str(raised.value)


def test_the_counts_change_with_the_tasks(store: RunStore) -> None:
    run = store.create(RunConfiguration(1))
    run.ledger.list_tasks([1, 2, 3, 4, 5], last_listed=5, is_listed=True)
    run.ledger.start_sending({1: 3, 2: 0})
    run.ledger.finish(WRITTEN, [1, 2], {"Cat": 2, "Dog": 1})
    run.ledger.finish(WRITTEN, [1])  # once more, as after a crash: counted once
    run.ledger.finish(SKIPPED, [3])
    run.ledger.fail({4: "no such image"})

    counts = run.progress().counts
    assert (counts.total, counts.written, counts.skipped, counts.failed) == (5, 2, 1, 1)
    assert (counts.objects, counts.empty) == (3, 1)
    assert run.progress().labels == {"Cat": 2, "Dog": 1}
    assert run.failures() == [(4, "no such image")]
    assert run.ledger.tasks_in(PENDING) == [5]
    assert run.ledger.tasks_in(SENDING) == []


def test_failed_tasks_can_be_tried_again(store: RunStore) -> None:
    run = store.create(RunConfiguration(1))
    run.ledger.list_tasks([1, 2], last_listed=2, is_listed=True)
    run.ledger.fail({2: "gone"})
    run.end("finished")

    assert run.retry() == 1

    assert run.progress().state == "queued"
    assert run.progress().counts.failed == 0
    assert run.ledger.tasks_in(PENDING) == [1, 2]


HOLD = """
import sys, time
from pathlib import Path
from sam_backend.runs.origin import RunOrigin
from sam_backend.runs.run_store import RunStore
with RunStore(Path(sys.argv[1])).get(sys.argv[2]).locked():
    print("holding", flush=True)
    time.sleep(600)
"""


def test_a_run_that_was_running_is_interrupted_when_its_process_is_killed(store: RunStore, tmp_path: Path) -> None:
    run = store.create(RunConfiguration(1))
    worker = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "runs", run.id], stdout=subprocess.PIPE)
    assert worker.stdout is not None
    assert worker.stdout.readline() == b"holding\n"
    run.ledger.set_run(state="running")

    assert run.progress().state == "running"
    with pytest.raises(RunLockedError), run.locked():
        pass
    worker.kill()
    worker.communicate()

    assert run.progress().state == "interrupted"
    with run.locked():
        pass


def test_what_makes_no_sense_is_refused_with_the_state(store: RunStore) -> None:
    run = store.create(RunConfiguration(1))
    run.end("finished")

    for action in ("resume", "pause", "cancel"):
        with pytest.raises(RunStateError, match=f"run {run.id} is finished"):
            run.request(action)


def test_a_run_that_nobody_works_on_is_paused_and_cancelled_at_once(store: RunStore) -> None:
    run = store.create(RunConfiguration(1))

    run.request("pause")
    assert run.progress().state == "paused"
    run.request("resume")
    assert run.progress().state == "queued"
    run.request("cancel")

    assert run.progress().state == "cancelled"
    assert run.progress().ended_at is not None


def test_the_same_question_finds_its_unfinished_run_and_another_does_not(store: RunStore) -> None:
    run = store.create(RunConfiguration(1, label_map={"a": "b"}))
    ended = store.create(RunConfiguration(2))
    ended.end("finished")

    found = store.unfinished(RunConfiguration(1, label_map={"a": "b"}), RunOrigin("", 1))

    assert found is not None
    assert found.id == run.id
    assert store.unfinished(RunConfiguration(1), RunOrigin("", 1)) is None
    assert store.unfinished_of_project(RunOrigin("", 2)) is None


def test_a_file_that_is_no_run_hides_no_run(store: RunStore, tmp_path: Path) -> None:
    run = store.create(RunConfiguration(1))
    (tmp_path / "runs" / "261124-000000.sqlite3").write_bytes(b"no database")

    assert [one.id for one in store.runs()] == [run.id]
