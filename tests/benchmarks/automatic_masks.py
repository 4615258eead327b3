"""Segment everything: ours beside the generator of segment-anything 1.0 (in MobileSAM's fork), same seeded weights.

Measured: a 1920 x 1080 image with MobileSAM, from pixels to run lengths, a grid small enough to end in minutes. Per
click the two do the same decoding; they differ in what they make full-size (all masks, or those of a good predicted
IoU), how many at once, and how they write run lengths. Blobs that depend on the prompt are added to the logits, and
the thresholds are set so that some masks fall to each filter. Rounds alternate between the two, so that other work on
the machine meets both. The peak of memory is measured in a process of its own for each side, above the loaded model.
Linux only.

    PYTHONPATH=model:tests .venv-parity/bin/python tests/benchmarks/automatic_masks.py [--points 8] [--rounds 3]
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sam_model.sam.automatic_mask_settings import automatic_mask_settings
from sam_model.sam.automatic_masks import segment_everything
from sam_model.types import Image
from sam_testing.prompt_blobs import blobs
from sam_testing.reference_pairs import Pair, pair_called

FILTERS = {"pred_iou_thresh": 0.3, "stability_score_thresh": 0.75, "stability_score_offset": 0.3}
SIDES: dict[str, dict[str, Any]] = {
    "reference": {},
    "ours": {},
    "ours, batches of 64": {"points_per_batch": 64},
}


def made_image() -> Image:
    """Return an image of coloured blocks, 1920 x 1080."""
    blocks = np.random.default_rng(0).integers(0, 256, (27, 48, 3), dtype=np.uint8)
    return blocks.repeat(40, axis=0).repeat(40, axis=1)


def find(side: str, pair: Pair, image: Image, points: int) -> int:
    """Run one side; return the number of masks."""
    settings = FILTERS | SIDES[side] | {"points_per_side": points}
    if side == "reference":
        from mobile_sam import SamAutomaticMaskGenerator

        generator = SamAutomaticMaskGenerator(pair.reference, output_mode="uncompressed_rle", **settings)
        return len(generator.generate(image))
    return len(segment_everything(pair.segmenter, image, automatic_mask_settings(**settings)))


def memory_mib(field: str) -> float:
    """Return a memory figure of this process: `VmRSS` now, or `VmHWM`, the maximum since the last reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def measure_peak(side: str, points: int) -> None:
    """Print the memory of one run above that of the loaded model, in MiB."""
    pair, image = pair_called("mobile_sam"), made_image()
    before = memory_mib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    with blobs(pair.reference.mask_decoder, pair.segmenter.model.mask_decoder):
        find(side, pair, image, points)
    print(memory_mib("VmHWM") - before)


def main() -> None:
    """Print a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=8, help="clicks to a side (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak_of:
        measure_peak(args.peak_of, args.points)
        return
    pair, image = pair_called("mobile_sam"), made_image()
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    cpu_seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    masks = {}
    with blobs(pair.reference.mask_decoder, pair.segmenter.model.mask_decoder):
        for side in SIDES:
            find(side, pair, image, 1)  # warm up
        for _ in range(args.rounds):
            for side in SIDES:
                start, cpu_start = time.perf_counter(), time.process_time()
                masks[side] = find(side, pair, image, args.points)
                seconds[side].append(time.perf_counter() - start)
                cpu_seconds[side].append(time.process_time() - cpu_start)
    rows = []
    for side in SIDES:
        command = [sys.executable, __file__, "--peak-of", side, "--points", str(args.points)]
        peak = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        rows.append(
            {
                "side": side,
                "median_s": round(statistics.median(seconds[side]), 2),
                "worst_s": round(max(seconds[side]), 2),
                "cpu_s": round(statistics.median(cpu_seconds[side]), 2),
                "peak_mib": round(peak),
                "masks": masks[side],
            }
        )
    first = rows[0]
    print(
        f"torch {version('torch')}, {torch.get_num_threads()} threads, {platform.processor() or platform.machine()}, ",
        end="",
    )
    print(f"load {os.getloadavg()[0]:.1f}, {args.points} x {args.points} clicks, {args.rounds} rounds\n")
    print(
        "| | median s | worst s | x | cpu s | x | peak MiB above the model | masks |\n|---|---|---|---|---|---|---|---|"
    )
    for row in rows:
        print(
            f"| {row['side']} | {row['median_s']} | {row['worst_s']} | {first['median_s'] / row['median_s']:.2f} "
            f"| {row['cpu_s']} | {first['cpu_s'] / row['cpu_s']:.2f} | {row['peak_mib']} | {row['masks']} |"
        )
    print(json.dumps({"benchmark": "automatic_masks", "points": args.points, "rows": rows}))


if __name__ == "__main__":
    main()
