"""A run over a project in the real Label Studio against the bare loop on the same images in memory, side by side.

The bare loop is detect, embed and segment, one image after the other on one thread, with nothing around it. The run
fetches the same images from Label Studio (SQLite), shapes and writes predictions, on this machine's cores beside
Label Studio itself. Both take their turns several times; the ratio is of the medians. Bar: 0.85.

    .venv/bin/python tests/benchmarks/bulk_throughput.py [TASKS]
"""

import json
import os
import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from sam_backend.demo.user_actions import create_project, import_files
from sam_backend.label_studio.client import LabelStudioClient
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.runs.run_store import RunStore
from sam_backend.runs.runner import work_on
from sam_backend.settings import Settings
from sam_model.registry import load_detector, load_segmenter
from sam_model.types import Image, Prompt
from sam_model.weights.store import store_from_env
from sam_testing.fake_label_studio import CONFIG
from sam_testing.real_label_studio import real_label_studio

TURNS = 3
PHOTOS = sorted(Path("examples/photos").glob("*.jpg"))


def bare_loop(images: list[Image]) -> float:
    """Return the seconds for detect, embed and segment."""
    detector, segmenter = load_detector("classical"), load_segmenter("classical")
    began = time.perf_counter()
    for image in images:
        found = detector.detect(image)
        if found:
            segmenter.segment(segmenter.embed(image), [Prompt(box=one.box) for one in found])
    return time.perf_counter() - began


def main() -> None:
    tasks = int(sys.argv[1]) if len(sys.argv) > 1 else 210
    images = [cv2.cvtColor(cv2.imread(str(PHOTOS[i % len(PHOTOS)])), cv2.COLOR_BGR2RGB) for i in range(tasks)]
    loops, runs = [], []
    with real_label_studio() as (url, token), TemporaryDirectory() as folder:
        api = LabelStudioClient(LabelStudioCredentials(url, token))
        project = create_project(api, "Benchmark", CONFIG).id
        for first in range(0, tasks, len(PHOTOS)):
            import_files(api, project, PHOTOS[: tasks - first])
        for _ in range(TURNS):
            loops.append(bare_loop([np.ascontiguousarray(image) for image in images]))
            run = RunStore(Path(folder)).create(RunConfiguration(project, policy="add"))
            began = time.perf_counter()
            progress = work_on(
                run,
                settings=Settings(model="classical"),
                access=LabelStudioCredentials(url, token),
                store=store_from_env({"SAM_OFFLINE": "1"}),
            )
            runs.append(time.perf_counter() - began)
            assert progress.counts.written == tasks, progress
    loop_s, run_s = statistics.median(loops), statistics.median(runs)
    print(f"{tasks} photographs, medians of {TURNS} turns (load {os.getloadavg()[0]:.1f})")
    print(f"bare loop  {loop_s:6.1f} s  {tasks / loop_s:6.1f} images/s")
    print(f"run        {run_s:6.1f} s  {tasks / run_s:6.1f} images/s  {loop_s / run_s:.2f} x the bare loop")
    print(json.dumps({"tasks": tasks, "ratio": round(loop_s / run_s, 3), "meets_bar": loop_s / run_s >= 0.85}))


if __name__ == "__main__":
    main()
