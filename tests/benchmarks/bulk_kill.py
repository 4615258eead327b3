"""A run of 1,000 tasks, killed with SIGKILL at 100 random moments and resumed each time.

Bar: in the end every task has exactly one prediction of the run; none is lost, none is doubled. The moments are seeded.
By default against the small Label Studio of the tests in a process of its own, with a stage that waits in place of the
models; with `--real` the command line with the classical detector against the real Label Studio.

    .venv/bin/python tests/benchmarks/bulk_kill.py [TASKS KILLS] [--real]
"""

import argparse
import base64
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2

from sam_testing.fake_label_studio import TOKEN, fake_program
from sam_testing.killed_runs import kill_and_resume
from sam_testing.real_label_studio import project_with_images, real_label_studio

LONGEST_LIFE_S = 1.0  # from the first task on that a process finished
SECONDS_PER_TASK = 0.2  # of the stage that waits


def photographs() -> list[str]:
    """Return the example images as small data URLs."""
    found = []
    for path in sorted(Path("examples/photos").glob("*.jpg")):
        image = cv2.imread(str(path))
        small = cv2.resize(image, None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA)
        text = base64.b64encode(cv2.imencode(".jpg", small)[1].tobytes()).decode()
        found.append(f"data:image/jpeg;base64,{text}")
    return found


@contextmanager
def project_of(tasks: int, real: bool) -> Iterator[tuple[str, str, int]]:
    """Yield URL, token and a project with `tasks` tasks."""
    if real:
        with real_label_studio() as (url, token):
            yield url, token, project_with_images(url, token, photographs(), tasks)
    else:
        with fake_program(tasks, ["data:,"]) as url:
            yield url, TOKEN, 1


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("tasks", type=int, nargs="?", default=1000)
    parser.add_argument("kills", type=int, nargs="?", default=100)
    parser.add_argument("--real", action="store_true")
    asked = parser.parse_args()
    with project_of(asked.tasks, asked.real) as (url, token, project), TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "sam_testing.quick_worker", folder, str(project), str(SECONDS_PER_TASK)]
        if asked.real:
            command = [sys.executable, "-m", "sam_backend.commands.main", "preannotate", "--project", str(project)]
            command += ["--map", "face=person", "--json"]
        run = kill_and_resume(url, token, project, command, Path(folder), asked.kills, LONGEST_LIFE_S)
    found, kills = run.found, len(run.done_at_kills)
    lost, doubled = found[0], sum(number for times, number in found.items() if times > 1)
    print(f"{kills} kills in {run.took_s:.0f} s, when so many tasks were done: {run.done_at_kills}")
    print(f"{asked.tasks} tasks: {found[1]} with one prediction, {lost} lost, {doubled} doubled; ledger: {run.written}")
    meets_bar = lost == doubled == 0 and found[1] == run.written == asked.tasks
    result = {"tasks": asked.tasks, "kills": kills, "lost": lost, "doubled": doubled}
    print(json.dumps({**result, "meets_bar": meets_bar}))


if __name__ == "__main__":
    main()
