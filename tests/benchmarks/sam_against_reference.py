"""Our SAM beside segment-anything 1.0 and MobileSAM's fork of it, in one process, on the same seeded weights.

Measured: the embedding of a 1920 x 1080 image (resizing, encoder), and prompts from embedding to full-size masks, as
each is called by its users: the reference's `SamPredictor` (all candidates at full size, then the best is picked), our
`SamSegmenter`. A click waits for both on an image's first prompt, and for the latter on all others. Rounds alternate
between the two, so that other work on the machine meets both; processor time is given beside, since it meets other
work less. Runs in the parity suite's environment:

    PYTHONPATH=model:tests .venv-parity/bin/python tests/benchmarks/sam_against_reference.py [--models mobile_sam sam_b]
        [--looks 3] [--rounds 7]
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
import torch

from sam_model.types import Image, Point, Prompt
from sam_testing.reference_pairs import Pair, pair_called

Work = Callable[[], object]


def made_image() -> Image:
    """Return an image of coloured blocks, 1920 x 1080."""
    blocks = np.random.default_rng(0).integers(0, 256, (27, 48, 3), dtype=np.uint8)
    return blocks.repeat(40, axis=0).repeat(40, axis=1)


def cases(pair: Pair, image: Image) -> dict[str, tuple[Work, Work]]:
    """Return the measured operations: the reference's and ours."""
    predictor, segmenter = pair.predictor_type(pair.reference), pair.segmenter
    height, width = image.shape[:2]
    point = np.array([[0.4 * width, 0.3 * height]])
    box = np.array([0.2 * width, 0.1 * height, 0.7 * width, 0.8 * height])
    boxes = np.stack([box + 10 * i for i in range(16)])
    predictor.set_image(image)
    embedding = segmenter.embed(image)

    def their_boxes() -> object:
        scaled = torch.tensor(predictor.transform.apply_boxes(boxes, (height, width)), dtype=torch.float)
        masks, _, _ = predictor.predict_torch(None, None, scaled, multimask_output=False)
        return masks.cpu().numpy()

    def their_click() -> object:
        masks, iou, _ = predictor.predict(point, np.array([1]), multimask_output=True)
        return masks[iou.argmax()]

    return {
        "look": (lambda: pair.predictor_type(pair.reference).set_image(image), lambda: segmenter.embed(image)),
        "1 point, best of 3": (
            their_click,
            lambda: segmenter.segment(embedding, [Prompt((Point(point[0, 0], point[0, 1]),))]),
        ),
        "1 box": (
            lambda: predictor.predict(box=box, multimask_output=False),
            lambda: segmenter.segment(embedding, [Prompt(box=tuple(box))]),
        ),
        "16 boxes": (their_boxes, lambda: segmenter.segment(embedding, [Prompt(box=tuple(b)) for b in boxes])),
    }


def alternate(theirs: Work, ours: Work, rounds: int) -> dict[str, list[float]]:
    """Return wall and processor seconds of both, per round, after one warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in ("theirs", "ours", "theirs_cpu", "ours_cpu")}
    theirs()
    ours()
    for _ in range(rounds):
        for name, work in (("theirs", theirs), ("ours", ours)):
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            seconds[name].append(time.perf_counter() - wall)
            seconds[name + "_cpu"].append(time.process_time() - cpu)
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["mobile_sam", "sam_b"])
    parser.add_argument("--looks", type=int, default=3, help="rounds of the encoder")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of everything else")
    arguments = parser.parse_args()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, load {os.getloadavg()[0]:.1f}"
    print(f"{machine}; median / p95 in ms\n")
    print("| model | what | reference | ours | faster | by processor time |\n|---|---|---|---|---|---|")
    results = {}
    for name in arguments.models:
        for what, (theirs, ours) in cases(pair_called(name), made_image()).items():
            found = alternate(theirs, ours, arguments.looks if what == "look" else arguments.rounds)
            results[f"{name} {what}"] = found
            shown = [
                f"{1e3 * statistics.median(found[side]):.0f} / {1e3 * np.quantile(found[side], 0.95):.0f}"
                for side in ("theirs", "ours")
            ]
            ratio, cpu_ratio = (
                statistics.median(found["theirs" + kind]) / statistics.median(found["ours" + kind])
                for kind in ("", "_cpu")
            )
            print(f"| {name} | {what} | {shown[0]} | {shown[1]} | {ratio:.2f} x | {cpu_ratio:.2f} x |", flush=True)
    versions = {package: version(package) for package in ("segment-anything", "mobilesam-mirror", "torch")}
    print("\n" + json.dumps({"machine": machine, "versions": versions, "seconds": results}))


if __name__ == "__main__":
    main()
