"""The supervisor with real worker processes of a small program in place of the real worker, and a fake Label Studio."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.runs import supervisor as supervisor_module
from sam_backend.runs.origin import RunOrigin, installation_of
from sam_backend.runs.progress import RunProgress
from sam_backend.runs.run_store import Run, RunStateError, RunStore
from sam_backend.runs.supervisor import RunSupervisor
from sam_testing.fake_label_studio import TOKEN, Store, fake_label_studio
from sam_testing.waiting import wait_until

# does with a run what the file `behaviour` in the folder of the runs says, and notes its process id in `started`
WORKER = """
import os, signal, sys
from pathlib import Path
from sam_backend.runs.run_store import RunStore

folder = Path(sys.argv[-2])
run = RunStore(folder).get(sys.argv[-1])
with (folder / "started").open("a") as file:
    file.write(f"{os.getpid()} {run.id}\\n")
behaviour = (folder / "behaviour").read_text()
with run.locked():
    run.ledger.set_run(state="running")
    if behaviour == "wait":
        sys.stdin.buffer.read()
    elif behaviour == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        run.end("finished")
"""


class Supervised:
    """A supervisor whose workers run `WORKER`."""

    def __init__(self, url: str, store: Store, folder: Path) -> None:
        self.url, self.store, self.folder, self.runs = url, store, folder, RunStore(folder)
        folder.mkdir()
        self.behave("finish")
        self.supervisor = self.new_supervisor()

    def new_supervisor(self) -> RunSupervisor:
        access = LabelStudioCredentials(self.url, TOKEN)
        return RunSupervisor(self.folder, access, os.environ, poll_interval_s=0.02)

    def behave(self, behaviour: str) -> None:
        (self.folder / "behaviour").write_text(behaviour)

    def create(self, *, beside_others: bool = False) -> Run:
        origin = RunOrigin(installation_of(self.url), 1)
        return self.supervisor.create(RunConfiguration(1), origin, beside_others=beside_others)

    def started(self) -> list[tuple[int, str]]:
        """Process ids and runs of the workers so far."""
        file = self.folder / "started"
        lines = file.read_text().splitlines() if file.exists() else []
        return [(int(line.split()[0]), line.split()[1]) for line in lines]

    def wait_for(self, run: Run, state: str) -> RunProgress:
        wait_until(lambda: run.progress().state == state)
        return run.progress()


@pytest.fixture
def supervised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervised]:
    program = tmp_path / "worker"
    program.write_text(f"#!{sys.executable}\n{WORKER}")
    program.chmod(0o755)
    monkeypatch.setattr(supervisor_module.sys, "executable", str(program))
    store = Store()
    with fake_label_studio(store) as url:
        supervised = Supervised(url, store, tmp_path / "runs")
        try:
            yield supervised
        finally:
            supervised.supervisor.close()


pytestmark = pytest.mark.timeout(120)


def test_runs_are_worked_on_one_after_the_other_the_oldest_first(supervised: Supervised) -> None:
    runs = [supervised.create(beside_others=True) for _ in range(3)]

    supervised.supervisor.start()
    for run in runs:
        supervised.wait_for(run, "finished")

    assert [run_id for _, run_id in supervised.started()] == [run.id for run in runs]


def test_a_project_with_an_unfinished_run_gets_no_second_one(supervised: Supervised) -> None:
    first = supervised.create()

    with pytest.raises(RunStateError, match=f"run {first.id} of project 1 is queued: wait for its end, or cancel it"):
        supervised.create()
    first.request("pause")
    with pytest.raises(RunStateError, match="is paused: resume or cancel it first"):
        supervised.create()
    first.request("cancel")

    assert supervised.create().id != first.id


def test_a_paused_run_waits_until_it_is_queued_again(supervised: Supervised) -> None:
    paused, other = supervised.create(), supervised.create(beside_others=True)
    paused.request("pause")

    supervised.supervisor.start()
    supervised.wait_for(other, "finished")
    assert paused.progress().state == "paused"
    paused.request("resume")
    supervised.supervisor.enqueue(paused)

    supervised.wait_for(paused, "finished")


def test_a_run_of_the_command_line_is_left_alone_until_it_is_queued(supervised: Supervised) -> None:
    of_command_line = supervised.runs.create(RunConfiguration(1), RunOrigin(installation_of(supervised.url), 1))
    other = supervised.create(beside_others=True)

    supervised.supervisor.start()
    supervised.wait_for(other, "finished")
    assert of_command_line.progress().state == "queued"
    supervised.supervisor.enqueue(of_command_line)

    supervised.wait_for(of_command_line, "finished")


def test_closing_stops_the_worker_and_the_next_supervisor_continues_its_run(supervised: Supervised) -> None:
    supervised.behave("wait")
    run = supervised.create()
    supervised.supervisor.start()
    supervised.wait_for(run, "running")

    supervised.supervisor.close()

    assert run.progress().state == "interrupted"
    supervised.behave("finish")
    supervised.supervisor = supervised.new_supervisor()
    supervised.supervisor.start()
    supervised.wait_for(run, "finished")
    assert len(supervised.started()) == 2


def test_a_killed_worker_is_replaced(supervised: Supervised) -> None:
    supervised.behave("wait")
    run = supervised.create()
    supervised.supervisor.start()
    supervised.wait_for(run, "running")
    supervised.behave("finish")

    os.kill(supervised.started()[0][0], signal.SIGKILL)

    supervised.wait_for(run, "finished")
    assert [run_id for _, run_id in supervised.started()] == [run.id, run.id]


def test_a_run_whose_workers_end_without_progress_fails_and_others_have_their_turn(
    supervised: Supervised, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "MAX_ATTEMPTS", 3)
    monkeypatch.setattr(supervisor_module, "FIRST_PAUSE_S", 0.01)
    supervised.behave("crash")
    run = supervised.create()

    supervised.supervisor.start()
    failed = supervised.wait_for(run, "failed")

    assert len(supervised.started()) == 4
    assert "ended 4 times without progress, the last time with signal 9" in failed.message
    supervised.behave("finish")
    supervised.wait_for(supervised.create(), "finished")


def test_a_run_of_another_project_is_refused_with_a_message_and_no_worker(supervised: Supervised) -> None:
    origin = RunOrigin(installation_of(supervised.url), 1, created_at="2020-01-01T00:00:00+00:00", title="Cars")
    foreign = supervised.supervisor.create(RunConfiguration(1), origin)

    supervised.supervisor.start()
    wait_until(lambda: foreign.progress().message != "")

    assert "belongs to project 1 'Cars'" in foreign.progress().message
    assert supervised.started() == []


def test_no_worker_starts_before_label_studio_is_known(supervised: Supervised) -> None:
    access = LabelStudioCredentials(None, None)
    supervised.supervisor = RunSupervisor(supervised.folder, access, os.environ, poll_interval_s=0.02)
    run = supervised.create()
    supervised.supervisor.start()

    assert supervised.supervisor._next() is None
    assert run.progress().state == "queued"
    access.learn_from_setup(supervised.url, TOKEN)

    supervised.wait_for(run, "finished")
