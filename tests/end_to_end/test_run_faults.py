"""Faults of the real Label Studio during a run: a restart, and bearer tokens that expire; one prediction per task."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import urllib3

from sam_backend.demo.label_studio_process import ACTION
from sam_backend.demo.user_actions import tasks_of_project
from sam_backend.label_studio.stored_predictions import predictions_of_task
from sam_backend.preannotation.provenance import is_of_run
from sam_backend.runs.run_store import RunStore
from sam_testing.real_label_studio import RestartableLabelStudio, project_with_images
from sam_testing.web_server import Answer, Asked, serving

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow, pytest.mark.timeout(480)]

TASKS = 150
SECONDS_PER_TASK = 0.1  # the writer sends a batch each second: some 15 batches
TOKEN_LIFETIME_S = 2  # of bearer tokens; 300 by default

# appended to Label Studio's Django settings, which leave SIMPLE_JWT to the defaults of djangorestframework-simplejwt
SHORT_TOKENS = f"""
from datetime import timedelta
SIMPLE_JWT = {{"ACCESS_TOKEN_LIFETIME": timedelta(seconds={TOKEN_LIFETIME_S})}}
"""


@pytest.fixture(scope="module")
def label_studio(
    label_studio_program: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RestartableLabelStudio]:
    folder = tmp_path_factory.mktemp("run-faults")
    apps = folder / "data" / "apps"  # on Label Studio's import path
    apps.mkdir(parents=True)
    (apps / "short_tokens.py").write_text((ACTION / "settings.py").read_text() + SHORT_TOKENS)
    server = RestartableLabelStudio(label_studio_program, folder, {"DJANGO_SETTINGS_MODULE": "short_tokens"})
    try:
        yield server
    finally:
        server.stop()


def start_run(folder: Path, url: str, token: str, project: int) -> "subprocess.Popen[str]":
    """Start a worker process; everything in it is real except detector and segmenter."""
    known = {"LABEL_STUDIO_URL": url, "LABEL_STUDIO_API_KEY": token}
    command = [sys.executable, "-m", "sam_testing.quick_worker", str(folder), str(project), str(SECONDS_PER_TASK)]
    return subprocess.Popen(command, env=os.environ | known, stderr=subprocess.PIPE, text=True)


def wait_for_first_predictions(folder: Path, worker: "subprocess.Popen[str]") -> int:
    """Return how many tasks are written once the first batch is."""
    pause = threading.Event()
    while worker.poll() is None:
        written = sum(run.progress().counts.written for run in RunStore(folder).runs())
        if written:
            return written
        pause.wait(0.05)
    raise AssertionError(f"the worker ended early: {worker.communicate()[1]}")


def check_one_prediction_per_task(label_studio: RestartableLabelStudio, folder: Path, project: int) -> None:
    (run,) = RunStore(folder).runs()
    tasks = tasks_of_project(label_studio.api, project)
    stored = {task.id: predictions_of_task(label_studio.api, task.id) for task in tasks}

    assert (run.progress().state, run.progress().message) == ("finished", "")
    assert run.progress().counts.written == TASKS
    assert {task: len(found) for task, found in stored.items()} == dict.fromkeys((task.id for task in tasks), 1)
    assert len(stored) == TASKS
    assert all(is_of_run(found[0], run.id) for found in stored.values())


def test_a_label_studio_that_restarts_during_a_run_gets_one_prediction_per_task(
    label_studio: RestartableLabelStudio, tmp_path: Path
) -> None:
    project = project_with_images(label_studio.url, label_studio.token, ["data:,"], TASKS)
    worker = start_run(tmp_path, label_studio.url, label_studio.token, project)
    written = wait_for_first_predictions(tmp_path, worker)

    label_studio.stop()
    assert worker.stderr is not None
    waiting = next((line for line in worker.stderr if "waiting for Label Studio" in line), None)
    label_studio.start()
    said = worker.communicate(timeout=200)[1]

    assert written < TASKS
    assert waiting is not None, said
    assert worker.returncode == 0, said
    check_one_prediction_per_task(label_studio, tmp_path, project)


@dataclass
class RecordingProxy:
    """A proxy before Label Studio that records path and status of each request."""

    target: str
    answered: list[tuple[str, int]] = field(default_factory=list)

    def answer(self, asked: Asked) -> Answer:
        headers = {name: value for name, value in asked.headers.items() if name not in ("host", "connection")}
        found = urllib3.request(
            asked.method, self.target + asked.path, headers=headers, body=asked.body, redirect=False, retries=False
        )
        self.answered.append((asked.path.partition("?")[0], found.status))
        return Answer(found.data, found.status, {"Content-Type": found.headers.get("Content-Type", "")})


def test_bearer_tokens_that_expire_during_a_run_are_renewed_and_each_task_gets_one_prediction(
    label_studio: RestartableLabelStudio, tmp_path: Path
) -> None:
    project = project_with_images(label_studio.url, label_studio.token, ["data:,"], TASKS)
    proxy = RecordingProxy(label_studio.url)

    with serving(proxy.answer) as server:
        worker = start_run(tmp_path, server.url, label_studio.token, project)
        said = worker.communicate(timeout=200)[1]

    assert worker.returncode == 0, said
    refused = [path for path, status in proxy.answered if status == 401]
    assert any(path.endswith("/import/predictions") for path in refused), proxy.answered
    assert proxy.answered.count(("/api/token/refresh/", 200)) > 2
    check_one_prediction_per_task(label_studio, tmp_path, project)
