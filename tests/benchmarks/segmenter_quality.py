"""Quality and time of a segmenter's masks: a simulated annotator draws a box, or clicks up to ten times.

The person's box just holds the object. The first click goes into the middle of the object, each later one into the
middle of the largest piece that is wrong, as in the papers on interactive segmentation (Xu et al., CVPR 2016). A
click harms when it costs more than 0.05 IoU. NoC85 is the number of clicks to IoU 0.85, ten where that is not
reached. Times are CPU times of one thread of OpenCV.

    python tests/benchmarks/segmenter_quality.py [--data FOLDER] [--model classical] [--clicks 10] [--limit N]

FOLDER holds index.json, `{"items": [{"id", "image", "mask"}, ...]}`, with masks of 255 object, 128 unsure, 0 rest.
Without one, a dozen images are drawn; they tell whether something broke, not how good it is on photographs.
"""

import argparse
import json
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np

from sam_model import load_segmenter
from sam_model.types import Image, Mask, Point, Prompt

HARM = 0.05  # IoU


@dataclass
class Sample:
    """An image, the object meant in it, and the pixels that count."""

    name: str
    image: Image
    truth: Mask
    counts: Mask


@dataclass
class Record:
    """The measured quality of one sample."""

    box_iou: float = 0.0
    click_ious: list[float] = field(default_factory=list)
    embed_ms: float = 0.0
    click_ms: list[float] = field(default_factory=list)


def samples_in(folder: Path) -> Iterator[Sample]:
    for item in json.loads((folder / "index.json").read_text())["items"]:
        image = cv2.cvtColor(cv2.imread(str(folder / item["image"])), cv2.COLOR_BGR2RGB)
        labels = cv2.imread(str(folder / item["mask"]), cv2.IMREAD_GRAYSCALE)
        yield Sample(item["id"], image, labels == 255, labels != 128)


def drawn_samples() -> Iterator[Sample]:
    """Return an image (512 x 384) with blobs of two colours and a textured background with similar blobs."""
    rng = np.random.default_rng(20)
    for k in range(12):
        ground = cv2.GaussianBlur(rng.normal(0, 1, (384, 512, 3)), (0, 0), 12) * 200 + rng.uniform(60, 190, 3)
        colours = rng.uniform(20, 235, (2, 3))
        for _ in range(3):
            ground[blob(rng, rng.integers(0, 512), rng.integers(0, 384), 30)] = colours[rng.integers(2)]
        x, y = rng.integers(150, 362), rng.integers(130, 254)
        truth = blob(rng, x, y, 80)
        ground[truth] = colours[0]
        ground[truth & (np.arange(384)[:, None] > y + 20)] = colours[1]
        noisy = cv2.GaussianBlur(ground, (0, 0), 0.8) + rng.normal(0, 6, ground.shape)
        yield Sample(f"drawn_{k:02}", np.clip(noisy, 0, 255).astype(np.uint8), truth, np.ones_like(truth))


def blob(rng: np.random.Generator, x: int, y: int, radius: float) -> Mask:
    """Return a star-shaped blob around (x, y) in 512 x 384 pixels."""
    angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    waves = sum(rng.normal(0, 0.25 / n) * np.sin(n * angles + rng.uniform(0, 7)) for n in range(1, 6))
    away = radius * np.exp(waves)
    outline = np.stack([x + away * np.cos(angles), y + away * np.sin(angles)], axis=1).round().astype(np.int32)
    return cv2.fillPoly(np.zeros((384, 512), np.uint8), [outline], 1).astype(bool)


def iou(sample: Sample, mask: Mask) -> float:
    mask, truth = mask & sample.counts, sample.truth & sample.counts
    return np.count_nonzero(mask & truth) / max(1, np.count_nonzero(mask | truth))


def next_click(sample: Sample, mask: Mask, clicks: list[Point]) -> Point | None:
    """Return the point of the largest wrong region that is farthest from its border.

    The image border counts as border.
    """
    deepest: tuple[float, Point] | None = None
    for is_positive, wrong in ((True, sample.truth & ~mask), (False, mask & ~sample.truth)):
        padded = np.pad((wrong & sample.counts).astype(np.uint8), 1)
        depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
        for click in clicks:
            depth[int(click.y), int(click.x)] = 0
        row, column = np.unravel_index(int(depth.argmax()), depth.shape)
        if depth[row, column] > (deepest[0] if deepest else 0):
            deepest = float(depth[row, column]), Point(column + 0.5, row + 0.5, is_positive)
    return deepest[1] if deepest else None


def measure(model: str, sample: Sample, max_clicks: int) -> Record:
    segmenter, record = load_segmenter(model), Record()

    start = time.process_time()
    embedding = segmenter.embed(sample.image)
    record.embed_ms = 1e3 * (time.process_time() - start)

    def answer(prompt: Prompt) -> Mask:
        start = time.process_time()
        mask = segmenter.segment(embedding, [prompt])[0].mask
        record.click_ms.append(1e3 * (time.process_time() - start))
        return mask

    rows, columns = np.flatnonzero(sample.truth.any(axis=1)), np.flatnonzero(sample.truth.any(axis=0))
    box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    record.box_iou = iou(sample, answer(Prompt(box=box)))
    clicks: list[Point] = []
    mask = np.zeros_like(sample.truth)
    while len(clicks) < max_clicks and (click := next_click(sample, mask, clicks)):
        clicks.append(click)
        mask = answer(Prompt(tuple(clicks)))
        record.click_ious.append(iou(sample, mask))
    record.click_ious += record.click_ious[-1:] * (max_clicks - len(record.click_ious))
    return record


def summary(records: list[Record], max_clicks: int) -> dict[str, float]:
    ious = np.array([record.click_ious for record in records])
    result = {"objects": len(records), "box": np.mean([record.box_iou for record in records])}
    result |= {f"clicks_{k}": ious[:, k - 1].mean() for k in (1, 3, 5, 10) if k <= max_clicks}
    for level in (85, 90):
        reached = ious >= level / 100
        first = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, max_clicks)
        result[f"noc_{level}"] = first.mean()
    result["harmful_share"] = np.mean(ious[:, 1:] < ious[:, :-1] - HARM) if max_clicks > 1 else 0.0
    embed, click = [record.embed_ms for record in records], np.concatenate([record.click_ms for record in records])
    for name, times in (("embed_cpu_ms", embed), ("click_cpu_ms", click)):
        result[f"{name}_p50"], result[f"{name}_p95"] = np.percentile(times, 50), np.percentile(times, 95)
    return {key: round(float(value), 4) for key, value in result.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with index.json, images and masks")
    parser.add_argument("--model", default="classical")
    parser.add_argument("--clicks", type=int, default=10)
    parser.add_argument("--limit", type=int, help="only the first N objects")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    samples = list(samples_in(options.data) if options.data else drawn_samples())[: options.limit]
    measure(options.model, samples[0], 1)  # warm-up: the first call imports and allocates

    records = []
    for sample in samples:
        records.append(measure(options.model, sample, options.clicks))
        clicks = " ".join(f"{value:.2f}" for value in records[-1].click_ious)
        print(f"{sample.name:<28} box {records[-1].box_iou:.3f}   clicks {clicks}", flush=True)
    result = summary(records, options.clicks)
    print()
    for key, value in result.items():
        print(f"{key:<20} {value:g}")
    about = {
        "benchmark": "segmenter_quality",
        "fingerprint": load_segmenter(options.model).fingerprint,
        "machine": platform.machine(),
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "opencv": cv2.__version__,
    }
    print(json.dumps(about | result))


if __name__ == "__main__":
    main()
