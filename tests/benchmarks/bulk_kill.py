"""A run of 500 tasks against the real Label Studio, killed with SIGKILL at 50 random moments and resumed each time.

Bar: in the end every task has exactly one prediction of the run; none is lost, none is doubled. The moments are seeded.

    .venv/bin/python tests/benchmarks/bulk_kill.py [TASKS KILLS]
"""

import base64
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2

from sam_backend.bulk.run_mark import is_of_run
from sam_backend.bulk.run_store import RunStore
from sam_backend.label_studio.access import LabelStudioAccess
from sam_backend.label_studio.api import LabelStudioApi
from sam_backend.label_studio.stored_predictions import predictions_of_task
from sam_testing.real_label_studio import project_with_images, real_label_studio

LONGEST_LIFE_S = 3.2  # from the moment on at which a process begins


def photographs() -> list[str]:
    """The examples as data URLs, small enough that many fit into a task's data."""
    found = []
    for path in sorted(Path("examples/photos").glob("*.jpg")):
        picture = cv2.imread(str(path))
        small = cv2.resize(picture, None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA)
        text = base64.b64encode(cv2.imencode(".jpg", small)[1].tobytes()).decode()
        found.append(f"data:image/jpeg;base64,{text}")
    return found


def main() -> None:
    tasks, kills = (int(number) for number in (sys.argv[1:3] or ("500", "50")))
    moments = random.Random(0)
    with real_label_studio() as (url, token), TemporaryDirectory() as folder:
        project = project_with_images(url, token, photographs(), tasks)
        settings = {"LABEL_STUDIO_URL": url, "LABEL_STUDIO_API_KEY": token, "SAM_RUNS_DIR": folder}
        environment = os.environ | settings | {"SAM_MODEL": "classical", "SAM_OFFLINE": "1"}
        command = [sys.executable, "-m", "sam_backend.cli", "preannotate", "--project", str(project), "--map"]
        command += ["face=person", "--json"]
        began, done_at_kills = time.monotonic(), []
        for _ in range(kills):
            program = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while program.poll() is None and not any(run.is_held for run in RunStore(Path(folder)).runs()):
                time.sleep(0.02)
            time.sleep(moments.uniform(0, LONGEST_LIFE_S))
            program.send_signal(signal.SIGKILL)
            program.wait()
            (run,) = RunStore(Path(folder)).runs()
            if run.progress().state == "finished":
                break
            done_at_kills.append(run.progress().counts.done)
        if run.progress().state != "finished":
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        (run,) = RunStore(Path(folder)).runs()
        api = LabelStudioApi(LabelStudioAccess(url, token))
        found = Counter(
            sum(is_of_run(one, run.id) for one in predictions_of_task(api, task.id)) for task in api.tasks(project)
        )
        took_s = time.monotonic() - began
        written = run.progress().counts.written
    lost, doubled = found[0], sum(number for times, number in found.items() if times > 1)
    print(f"{len(done_at_kills)} kills in {took_s:.0f} s, when so many tasks were done: {done_at_kills}")
    print(f"{tasks} tasks: {found[1]} with one prediction, {lost} lost, {doubled} doubled; the ledger says {written}")
    result = {"tasks": tasks, "kills": len(done_at_kills), "lost": lost, "doubled": doubled}
    print(json.dumps({**result, "meets_bar": lost == doubled == 0 and found[1] == written == tasks}))


if __name__ == "__main__":
    main()
