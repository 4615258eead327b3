"""A run over a project in the real Label Studio against the bare loop on the same images in memory, side by side.

The bare loop is detect, embed and segment, one image after the other on one thread, with nothing around it. The run
fetches the same images from Label Studio (SQLite), shapes and writes predictions, on this machine's cores beside
Label Studio itself. Both take their turns several times; the ratio is of the medians, and of the least processor
time that this process needs. Models are loaded by each run, but only once for the loop: a run over one image tells what
that takes. Models: the classical ones, and MobileSAM after YOLOv8n (seeded weights) in
the fastest runtime, at most 8 boxes per image. Bar: 0.95.

    .venv/bin/python tests/benchmarks/bulk_throughput.py [--tasks 210] [--rounds 3] [--models classical networks]
        [--folder FOLDER]
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np

from sam_backend.demo.user_actions import create_project, import_files
from sam_backend.label_studio.client import LabelStudioClient
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.runs.run_store import RunStore
from sam_backend.runs.runner import work_on
from sam_backend.settings import Settings
from sam_model.interfaces import Detector, Segmenter
from sam_model.registry import load_detector, load_segmenter
from sam_model.types import Image, Prompt
from sam_model.weights.store import WeightStore, store_from_env
from sam_testing.fake_label_studio import CONFIG
from sam_testing.real_label_studio import real_label_studio
from sam_testing.seeded_checkpoints import write_seeded_checkpoint
from sam_testing.yolo_files import SIZE_N, write_yolo_file

BAR = 0.95
MAX_BOXES = 8
CONVERSION_TIMEOUT_S = 900
PHOTOS = sorted(Path("examples/photos").glob("*.jpg"))


def models_of(kind: str, folder: Path, store: WeightStore) -> tuple[str, str, Detector, Segmenter[Any]]:
    """Return the detector and the segmenter of a run, by name or file, and both for the bare loop."""
    if kind == "classical":
        return "classical", "classical", load_detector("classical"), load_segmenter("classical")
    yolo = write_yolo_file(folder / "my-yolov8n.pt", SIZE_N, ("person", "face"), finds_few=True)
    sam = write_seeded_checkpoint(folder / "my-mobile_sam.pt")
    fastest: dict[str, Any] = {"dtype": "auto", "runtime": "auto", "store": store}
    return str(yolo), str(sam), load_detector(str(yolo), **fastest), load_segmenter(str(sam), **fastest)


def bare_loop(images: list[Image], detector: Detector, segmenter: Segmenter[Any]) -> None:
    """Detect, embed and segment."""
    for image in images:
        found = detector.detect(image)[:MAX_BOXES]
        if found:
            segmenter.segment(segmenter.embed(image), [Prompt(box=one.box) for one in found])


def wait_for_conversions(detector: Any, segmenter: Any) -> None:
    """Wait until OpenVINO runs the networks that were used once."""
    for part in (getattr(detector, "_run", None), getattr(segmenter, "_converted", None)):
        if hasattr(part, "wait"):
            part.wait(CONVERSION_TIMEOUT_S)


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds of a work by the clock, and of the processor in this process."""
    began, cpu_began = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - cpu_began


def measure(
    kind: str, tasks: int, rounds: int, folder: Path, api: LabelStudioClient, access: LabelStudioCredentials
) -> Any:
    """Return the ratios of one kind of models."""
    store = store_from_env({"SAM_OFFLINE": "1", "SAM_WEIGHTS_DIR": str(folder)})
    one, project = (create_project(api, f"Benchmark {kind} {number}", CONFIG).id for number in (1, tasks))
    import_files(api, one, PHOTOS[:1])
    for first in range(0, tasks, len(PHOTOS)):
        import_files(api, project, PHOTOS[: tasks - first])
    images = [cv2.cvtColor(cv2.imread(str(PHOTOS[i % len(PHOTOS)])), cv2.COLOR_BGR2RGB) for i in range(tasks)]
    images = [np.ascontiguousarray(image) for image in images]
    detector_name, model, detector, segmenter = models_of(kind, folder, store)

    def run(on: int, number: int) -> None:
        configuration = RunConfiguration(
            on, detector=detector_name, model=model, policy="add", max_detections=MAX_BOXES
        )
        work = RunStore(folder / "runs").create(configuration)
        progress = work_on(work, settings=Settings(model="classical", weights_dir=folder), access=access, store=store)
        assert progress.counts.written == number, progress

    bare_loop(images[:2], detector, segmenter)
    wait_for_conversions(detector, segmenter)
    one_cpu_s = min(
        seconds(lambda: run(one, 1))[1] - seconds(lambda: bare_loop(images[:1], detector, segmenter))[1]
        for _ in range(rounds)
    )
    turns = []
    for _ in range(rounds):
        turns.append((seconds(lambda: bare_loop(images, detector, segmenter)), seconds(lambda: run(project, tasks))))
        (loop, loop_cpu), (whole, whole_cpu) = turns[-1]
        print(f"bare loop {loop:.1f} s, {loop_cpu:.1f} of processor time; run {whole:.1f}, {whole_cpu:.1f}", flush=True)
    loop_s, run_s = (statistics.median(turn[side][0] for turn in turns) for side in (0, 1))
    loop_cpu_s, run_cpu_s = (min(turn[side][1] for turn in turns) for side in (0, 1))
    print(f"{kind}: {tasks} photographs, medians of {rounds} turns (load {os.getloadavg()[0]:.1f})")
    print(f"bare loop  {loop_s:6.1f} s  {tasks / loop_s:6.1f} images/s, {loop_cpu_s:.1f} s of processor time")
    print(f"run        {run_s:6.1f} s  {tasks / run_s:6.1f} images/s, {run_cpu_s:.1f} s of processor time")
    ratio = loop_s / run_s
    print(f"the run has {ratio:.2f} x the throughput of the bare loop", flush=True)
    further_ratio = loop_cpu_s / (run_cpu_s - one_cpu_s)
    print(f"without {one_cpu_s:.1f} s to load the models: {further_ratio:.3f} x by processor time", flush=True)
    ratios = [turn[0][0] / turn[1][0] for turn in turns]
    return {
        "tasks": tasks,
        "loop_s": round(loop_s, 2),
        "run_s": round(run_s, 2),
        "ratio": round(ratio, 3),
        "range": [round(min(ratios), 3), round(max(ratios), 3)],
        "loop_cpu_s": round(loop_cpu_s, 2),
        "run_cpu_s": round(run_cpu_s, 2),
        "cpu_ratio": round(loop_cpu_s / run_cpu_s, 3),
        "loading_cpu_s": round(one_cpu_s, 2),
        "cpu_ratio_without_loading": round(further_ratio, 3),
        "load": round(os.getloadavg()[0], 1),
        "meets_bar": ratio >= BAR,
    }


def main() -> None:
    """Print the ratios of each kind of models, and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=210)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", nargs="+", choices=["classical", "networks"], default=["classical", "networks"])
    parser.add_argument("--folder", type=Path, help="keeps the converted networks")
    options = parser.parse_args()
    with real_label_studio() as (url, token), TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        access = LabelStudioCredentials(url, token)
        api = LabelStudioClient(access)
        rows = {kind: measure(kind, options.tasks, options.rounds, folder, api, access) for kind in options.models}
    print(json.dumps({"benchmark": "bulk_throughput", "rows": rows}))


if __name__ == "__main__":
    main()
