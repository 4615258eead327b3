"""A run while Label Studio or the machine fails: one prediction for each task, or a state that says what to do.

Worker processes and a small Label Studio over real HTTP; only detector and segmenter are replaced (`quick_worker`).
"""

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sam_backend.runs.run_store import RunStore
from sam_testing.backend_program import COMMAND, environment
from sam_testing.fake_label_studio import PERSONAL_TOKEN, TOKEN, Store, fake_label_studio

TASKS = 150


class FaultyEnvironment:
    """A fake Label Studio and a worker process."""

    def __init__(self, url: str, store: Store, folder: Path) -> None:
        self.url, self.store, self.folder, self.token = url, store, folder, TOKEN

    def begin(self, seconds_per_task: float = 0.0, give_up_after_s: float = 600.0) -> "subprocess.Popen[str]":
        known = {"LABEL_STUDIO_URL": self.url, "LABEL_STUDIO_API_KEY": self.token}
        command = [sys.executable, "-m", "sam_testing.quick_worker", str(self.folder), "1", str(seconds_per_task)]
        return subprocess.Popen(
            command,
            env=os.environ | known | {"GIVE_UP_AFTER_S": str(give_up_after_s)},
            stderr=subprocess.PIPE,
            text=True,
        )

    def work(self, seconds_per_task: float = 0.0, give_up_after_s: float = 600.0) -> tuple[int, str]:
        """Return the exit code and the standard error of a worker."""
        program = self.begin(seconds_per_task, give_up_after_s)
        said = program.communicate(timeout=150)[1]
        return program.returncode, said

    def state(self) -> tuple[str, str]:
        (run,) = RunStore(self.folder).runs()
        progress = run.progress()
        return progress.state, progress.message

    def has_one_each(self) -> bool:
        return {task: len(found) for task, found in self.store.predictions.items() if found} == dict.fromkeys(
            range(1, len(self.store.tasks) + 1), 1
        )

    def wait_until(self, is_so: Callable[[], bool], timeout_s: float = 100) -> None:
        end = time.monotonic() + timeout_s
        while not is_so():
            assert time.monotonic() < end
            time.sleep(0.02)


@pytest.fixture
def env(tmp_path: Path) -> Iterator[FaultyEnvironment]:
    store = Store()
    store.add_tasks(TASKS, image="data:,")
    with fake_label_studio(store) as url:
        yield FaultyEnvironment(url, store, tmp_path / "runs")


@pytest.mark.timeout(200)
@pytest.mark.parametrize("kind", ["429", "500", "502", "reset", "lost", "half", "empty", "slow"])
def test_every_third_request_fails_and_each_task_gets_one_prediction(env: FaultyEnvironment, kind: str) -> None:
    counted, lock = [0], threading.Lock()

    def every_third(method: str, path: str) -> str:
        with lock:
            counted[0] += 1
            return kind if counted[0] % 3 == 0 and counted[0] <= 30 else ""

    env.store.fault = every_third

    code, said = env.work()

    assert (code, env.state()) == (0, ("finished", "")), said
    assert env.has_one_each()


@pytest.mark.timeout(200)
def test_a_bearer_token_that_ends_every_few_requests_is_renewed(env: FaultyEnvironment) -> None:
    env.store.requests_per_bearer, env.token = 1, PERSONAL_TOKEN

    code, said = env.work()

    assert (code, env.state()) == (0, ("finished", "")), said
    assert env.has_one_each()
    assert env.store.bearers > 2


@pytest.mark.timeout(200)
def test_a_label_studio_that_restarts_is_waited_for(tmp_path: Path) -> None:
    store = Store()
    store.add_tasks(TASKS, image="data:,")
    with fake_label_studio(store) as url:
        env = FaultyEnvironment(url, store, tmp_path / "runs")
        program = env.begin(seconds_per_task=0.02)
        env.wait_until(lambda: bool(store.predictions))
        store.fault = lambda method, path: "reset"  # on the connections that are open still
    written = len(store.predictions)
    assert program.stderr is not None
    said = next(line for line in program.stderr if "waiting for Label Studio" in line)
    store.fault = None
    with fake_label_studio(store, port=int(url.rpartition(":")[2])):
        program.communicate(timeout=150)

    assert said
    assert written < TASKS
    assert env.state() == ("finished", "")
    assert env.has_one_each()


@pytest.mark.timeout(200)
def test_a_label_studio_that_stays_away_leaves_a_run_that_can_be_resumed(env: FaultyEnvironment) -> None:
    env.store.fault = lambda method, path: "502" if env.store.predictions else ""

    code, _ = env.work(0.02, give_up_after_s=1.0)
    state, message = env.state()
    env.store.fault = None
    RunStore(env.folder).runs()[0].request("resume")
    again, _ = env.work()

    assert code == 1
    assert state == "failed"
    assert "the run can be resumed" in message
    assert again == 0
    assert env.has_one_each()


@pytest.mark.timeout(200)
def test_a_token_that_is_revoked_fails_the_run_with_the_fix(env: FaultyEnvironment) -> None:
    def revoke(method: str, path: str) -> str:
        env.store.is_allowed = not env.store.predictions
        return ""

    env.store.fault = revoke
    code, _ = env.work(0.02)
    state, message = env.state()
    env.store.fault, env.store.is_allowed = None, True
    RunStore(env.folder).runs()[0].request("resume")
    again, _ = env.work()

    assert (code, state) == (1, "failed")
    assert "create a personal access token" in message
    assert again == 0
    assert env.has_one_each()


@pytest.mark.timeout(200)
def test_a_disk_that_fills_during_a_run_interrupts_it_and_it_goes_on_with_space(env: FaultyEnvironment) -> None:
    program = env.begin(seconds_per_task=0.02)
    env.wait_until(lambda: bool(env.store.predictions))

    resource.prlimit(program.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))  # every write fails from now on
    said = program.communicate(timeout=100)[1]
    state, _ = env.state()
    again, _ = env.work()

    assert program.returncode == 1
    assert "cannot be used: disk I/O error; check that the folder SAM_RUNS_DIR" in said
    assert "SAM_RUNS_DIR" in said
    assert state == "interrupted"
    assert again == 0
    assert env.has_one_each()


def test_a_missing_model_file_is_named_and_the_run_can_be_resumed(env: FaultyEnvironment, tmp_path: Path) -> None:
    settings = {"LABEL_STUDIO_URL": env.url, "LABEL_STUDIO_API_KEY": TOKEN, "SAM_RUNS_DIR": str(env.folder)}
    asked = ["preannotate", "--project", "1", "--detector", "boxes", "--model", str(tmp_path / "gone.pt")]

    program = subprocess.run(
        [*COMMAND, *asked], env=environment(**settings), capture_output=True, text=True, check=False, timeout=100
    )

    assert program.returncode == 1
    assert "gone.pt" in program.stderr
    assert "Traceback" not in program.stderr
    assert env.state()[0] == "failed"
    RunStore(env.folder).runs()[0].request("resume")
    assert env.state()[0] == "queued"
