"""OpenVINO beside PyTorch, for the same modules, in one run.

Measured: embedding an image, and one prompt from the embedding to the mask at the size of the image, with PyTorch in
float32 and with what `SAM_RUNTIME=auto` chooses on this machine; the two alternate, and ratios of neighbours are
reported as median and range. Weights are seeded, so the quality beside the speed is the IoU of the masks of both.

    python tests/benchmarks/runtimes.py [--model mobile_sam] [--rounds 5] [--folder FOLDER]
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sam_model.sam.segmenter import SamEmbedding, SamSegmenter
from sam_model.sam.sizes import SIZES
from sam_model.types import Image, Point, Prompt
from sam_testing.seeded_checkpoints import seeded_sam

CONVERSION_TIMEOUT_S = 900


def smooth_image(height: int, width: int) -> Image:
    """Return an image of large coloured spots."""
    spots = np.random.default_rng(0).normal(128, 80, (9, 12, 3)).clip(0, 255).astype(np.uint8)
    return cv2.resize(spots, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def prompts_in(height: int, width: int, count: int) -> list[Prompt]:
    """Return points spread over an image."""
    places = np.random.default_rng(1).uniform((0, 0), (width, height), (count, 2))
    return [Prompt(points=(Point(float(x), float(y)),)) for x, y in places]


def alternated(slow: Callable[[], Any], fast: Callable[[], Any], rounds: int) -> dict[str, Any]:
    """Return medians in ms of wall-clock time, and median and range of the ratios of neighbours."""
    slow(), fast()
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        slow()
        middle = time.perf_counter()
        fast()
        times.append((middle - begin, time.perf_counter() - middle))
    pairs = np.array(times) * 1e3
    ratios = pairs[:, 0] / pairs[:, 1]
    return {
        "torch_ms": round(float(np.median(pairs[:, 0])), 1),
        "auto_ms": round(float(np.median(pairs[:, 1])), 1),
        "ratio": round(float(np.median(ratios)), 2),
        "ratio_range": [round(float(ratios.min()), 2), round(float(ratios.max()), 2)],
    }


def overlaps(exact: SamSegmenter, fast: SamSegmenter, image: Image) -> list[float]:
    """Return the IoU of both segmenters' masks for some points, each with its own embedding."""
    prompts = prompts_in(image.shape[0], image.shape[1], 20)
    pairs = zip(exact.segment(exact.embed(image), prompts), fast.segment(fast.embed(image), prompts), strict=True)
    return [float((a.mask & b.mask).sum() / max(1, (a.mask | b.mask).sum())) for a, b in pairs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mobile_sam")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="keeps the converted networks")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp())
    size = SIZES[options.model]
    exact = SamSegmenter(seeded_sam(size), size.name, "cpu")
    fast = SamSegmenter(seeded_sam(size), size.name, "cpu", "auto", runtime="auto", converted_dir=folder)
    full_hd, large = smooth_image(1080, 1920), smooth_image(3000, 4000)

    def embeddings(image: Image) -> tuple[SamEmbedding, SamEmbedding]:
        return exact.embed(image), fast.embed(image)

    one = prompts_in(3000, 4000, 1)
    fast.segment(fast.embed(full_hd), prompts_in(1080, 1920, 1))  # starts the decoder's conversion
    is_converted = fast._converted is not None and fast._converted.wait(CONVERSION_TIMEOUT_S)
    exact_large, fast_large = embeddings(large)
    rows = {
        "embed, 1920 x 1080": alternated(lambda: exact.embed(full_hd), lambda: fast.embed(full_hd), options.rounds),
        "1 point, 4000 x 3000": alternated(
            lambda: exact.segment(exact_large, one), lambda: fast.segment(fast_large, one), options.rounds
        ),
    }
    iou = overlaps(exact, fast, full_hd)
    for name, row in rows.items():
        print(f"{name:<22} {row}")
    result = {
        "benchmark": "runtimes",
        "model": size.name,
        "runtime": str(fast.runtime),
        "is_converted": is_converted,
        "rows": rows,
        "iou": {"min": round(min(iou), 4), "mean": round(float(np.mean(iou)), 4)},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
