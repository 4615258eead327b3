"""Memory and time of a run without models: 100,000 tasks of a fake Label Studio over real HTTP.

Measured: tasks a second, and how much the working process's resident memory grows from task 1,000 to the last. The
segmenter costs nothing (one region a task, made of nothing), so that all that is left is listing, ledger and sending.
The server is a process of its own on the same machine, and takes its share of it. Bars: 300 tasks/s, 100 MB.

    .venv/bin/python tests/benchmarks/bulk_memory.py [TASKS]
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import orjson

from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.preannotation.outcome import BulkTask, Outcome
from sam_backend.preannotation.preannotator import Preannotator
from sam_backend.preannotation.provenance import region_id
from sam_backend.runs.run_store import RunStore
from sam_backend.runs.runner import work_on
from sam_backend.settings import Settings
from sam_model.weights.store import store_from_env
from sam_testing.fake_label_studio import TOKEN


def resident_mib() -> float:
    """Return this process's resident memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Costless:
    """Return one region for every task, and sample the memory from time to time."""

    def __init__(self, preannotator: Preannotator, seen: list[tuple[int, float]]) -> None:
        self.preannotator, self.seen = preannotator, seen

    def run(self, tasks: Iterable[BulkTask], is_stopping: Callable[[], bool]) -> Iterator[Outcome]:
        for number, task in enumerate(tasks, 1):
            region = {"id": region_id(self.preannotator.run_id, task.id, 0)}
            prediction = {"task": task.id, "result": [region], "score": 0.5, "model_version": self.preannotator.version}
            yield Outcome(task.id, orjson.dumps(prediction), labels={"person": 1})
            if number % 1000 == 0:
                self.seen.append((number, resident_mib()))


def main() -> None:
    tasks = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    seen: list[tuple[int, float]] = []
    server = subprocess.Popen(
        [sys.executable, "-m", "sam_testing.fake_label_studio", str(tasks)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().decode().strip()
        with tempfile.TemporaryDirectory() as folder:
            run = RunStore(Path(folder)).create(RunConfiguration(1))
            began = time.monotonic()
            progress = work_on(
                run,
                settings=Settings(model="classical"),
                access=LabelStudioCredentials(url, TOKEN),
                store=store_from_env({"SAM_OFFLINE": "1"}),
                executor_for=lambda preannotator: Costless(preannotator, seen),
            )
            took_s = time.monotonic() - began
            size_mib = sum(file.stat().st_size for file in Path(folder).iterdir()) / 2**20
    finally:
        server.kill()
    assert progress.counts.written == tasks, progress
    grown = max(mib for _, mib in seen) - seen[0][1]
    print(f"{tasks} tasks in {took_s:.1f} s: {tasks / took_s:.0f} tasks/s (load {os.getloadavg()[0]:.1f})")
    print(
        f"memory at task 1,000: {seen[0][1]:.0f} MiB, at its most {max(mib for _, mib in seen):.0f} MiB: + {grown:.1f}"
    )
    print(f"ledger: {size_mib:.1f} MiB")
    found = {"tasks": tasks, "tasks_per_s": round(tasks / took_s, 1), "grown_mib": round(grown, 1)}
    print(json.dumps({**found, "ledger_mib": round(size_mib, 1), "meets_bars": tasks / took_s >= 300 and grown < 100}))


if __name__ == "__main__":
    main()
