"""Our brush RLE codec beside Label Studio's converter, in one run.

Measured: from a boolean mask (H, W) to the list of bytes, and from that list back to the mask. Each click's answer is
encoded once, and a bulk run encodes every region, so this is in each mask's way; the converter takes a good
part of a second for a 12-megapixel mask. It is called as its users do: `mask2rle` with `mask * 255` as uint8, and
`decode_rle` plus the alpha channel. `encode to array` is what the backend does, as orjson needs no list; `orjson`
and `json` write the whole text from array and list. Every encoding is checked before it is timed. Times are processor
times, which depend less on other programs than wall-clock times do.

    python tests/benchmarks/brush_rle.py [--rounds 15] [--converter-rounds 3]
"""

import argparse
import datetime
import json
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import cv2
import numpy as np
import orjson
from label_studio_sdk.converter.brush import decode_rle, mask2rle
from numpy.typing import NDArray

from sam_backend.shapes.brush_rle import decode_mask, encode_mask, encode_mask_bytes, loops

Mask = NDArray[np.bool_]


def smooth(height: int, width: int) -> Mask:
    """Return a mask of three ellipses: few long runs."""
    y, x = np.mgrid[:height, :width]
    discs = [(0.4, 0.4, 0.3), (0.6, 0.7, 0.15), (0.15, 0.75, 0.12)]
    return np.any([((y / height - a) ** 2 + (x / width - b) ** 2) < r**2 for a, b, r in discs], axis=0)


def ragged(height: int, width: int) -> Mask:
    """Return blurred noise, thresholded at its mean: some hundred runs per row."""
    field = np.random.default_rng(0).standard_normal((height, width), dtype=np.float32)
    return cv2.GaussianBlur(field, (0, 0), 5) > 0


def noise(height: int, width: int) -> Mask:
    """Return a mask of pixel noise: a run every second pixel."""
    return np.random.default_rng(0).random((height, width)) < 0.5


CASES: list[tuple[Callable[[int, int], Mask], int, int]] = [
    (smooth, 480, 640),
    (ragged, 480, 640),
    (noise, 480, 640),
    (smooth, 3000, 4000),
    (ragged, 3000, 4000),
    (noise, 1080, 1920),
]


def median_and_p95_ms(work: Callable[[], Any], rounds: int) -> tuple[float, float]:
    work()  # warm-up
    times = []
    for _ in range(rounds):
        begin = time.thread_time()
        work()
        times.append((time.thread_time() - begin) * 1e3)
    return float(np.median(times)), float(np.percentile(times, 95))


def alpha_by_the_converter(rle: list[int], height: int, width: int) -> Mask:
    return decode_rle(rle).reshape(height, width, 4)[:, :, 3] > 0


def compare(mask: Mask, rounds: int, converter_rounds: int) -> tuple[int, dict[str, tuple[float, float]]]:
    """Return the length of the RLE, and median and p95 in ms for each operation."""
    rle, array = encode_mask(mask), encode_mask_bytes(mask)
    assert rle == mask2rle(mask.astype(np.uint8) * 255) == array.tolist()
    assert np.array_equal(decode_mask(rle, *mask.shape), mask)
    jobs: dict[str, tuple[Callable[[], Any], int]] = {
        "encode": (lambda: encode_mask(mask), rounds),
        "encode to array": (lambda: encode_mask_bytes(mask), rounds),
        "encode, converter": (lambda: mask2rle(mask.astype(np.uint8) * 255), converter_rounds),
        "decode": (lambda: decode_mask(rle, *mask.shape), rounds),
        "decode from array": (lambda: decode_mask(array, *mask.shape), rounds),
        "decode, converter": (lambda: alpha_by_the_converter(rle, *mask.shape), converter_rounds),
        "orjson of array": (lambda: orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY), rounds),
        "json of list": (lambda: json.dumps(rle), rounds),
    }
    return len(rle), {name: median_and_p95_ms(work, times) for name, (work, times) in jobs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--converter-rounds", type=int, default=3, help="it is slow; 3 rounds have no real p95")
    options = parser.parse_args()
    machine = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": f"{platform.machine()}, {os.cpu_count()} cores",
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "orjson", "label-studio-sdk")},
    }
    machine["loops"] = "numpy" if loops.wait() is None else "compiled"
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    print(f"rounds: {options.rounds}, converter {options.converter_rounds}; median / p95 in ms of processor time\n")

    results = []
    for draw, height, width in CASES:
        length, times = compare(draw(height, width), options.rounds, options.converter_rounds)
        faster = {way: round(times[f"{way}, converter"][0] / times[way][0], 1) for way in ("encode", "decode")}
        print(f"{draw.__name__} {width} x {height}, {length} bytes; {faster} times faster")
        for name, (median, p95) in times.items():
            print(f"    {name:<20} {median:>10.2f} / {p95:.2f}")
        milliseconds = {name: [round(value, 3) for value in pair] for name, pair in times.items()}
        case = {"mask": draw.__name__, "size": [height, width], "bytes": length}
        results.append(case | {"times_faster": faster, "median_p95_ms": milliseconds})
    print(json.dumps({"benchmark": "brush_rle", **machine, "results": results}))


if __name__ == "__main__":
    main()
