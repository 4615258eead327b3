"""Runs whose process is killed with SIGKILL repeatedly, and the predictions that Label Studio then holds."""

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sam_backend.demo.user_actions import tasks_of_project
from sam_backend.label_studio.client import LabelStudioClient
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.label_studio.stored_predictions import predictions_of_task
from sam_backend.preannotation.provenance import is_of_run
from sam_backend.runs.run_store import RunStore


@dataclass(frozen=True)
class KilledRun:
    """Result of a killed run: `found` maps a number of predictions to the number of tasks that have it.

    `done_at_kills` are the tasks done at each kill.
    """

    state: str
    written: int
    found: Counter[int]
    done_at_kills: list[int]
    took_s: float


def kill_and_resume(
    url: str, token: str, project: int, command: Sequence[str], folder: Path, kills: int, longest_life_s: float
) -> KilledRun:
    """Start a run with a command, kill it at most `kills` times, and let the last process finish it.

    A process is killed at a seeded moment after the first task that it finished itself, so that kills are spread over
    the run however slow the machine is.
    """
    moments = random.Random(0)
    settings = {"LABEL_STUDIO_URL": url, "LABEL_STUDIO_API_KEY": token, "SAM_RUNS_DIR": str(folder)}
    environment = os.environ | settings | {"SAM_MODEL": "classical", "SAM_OFFLINE": "1"}
    began, done_at_kills = time.monotonic(), []
    for _ in range(kills):
        program = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        done = done_at_kills[-1] if done_at_kills else 0
        while program.poll() is None and not any(run.progress().counts.done > done for run in RunStore(folder).runs()):
            time.sleep(0.05)
        time.sleep(moments.uniform(0, longest_life_s))
        program.send_signal(signal.SIGKILL)
        program.wait()
        (run,) = RunStore(folder).runs()
        if run.progress().state == "finished":
            break
        done_at_kills.append(run.progress().counts.done)
    if run.progress().state != "finished":
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (run,) = RunStore(folder).runs()
    took_s = time.monotonic() - began
    api = LabelStudioClient(LabelStudioCredentials(url, token))
    found = Counter(
        sum(is_of_run(one, run.id) for one in predictions_of_task(api, task.id))
        for task in tasks_of_project(api, project)
    )
    progress = run.progress()
    return KilledRun(progress.state, progress.counts.written, found, done_at_kills, took_s)
