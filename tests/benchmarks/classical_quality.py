"""Quality and time of a segmenter's masks on photographs: a simulated annotator draws a box, or clicks up to ten times.

The box is the object's bounding box. The first click is in the middle of the object, each later one in the middle of
the largest wrong piece, as in the papers on interactive segmentation (Xu et al., CVPR 2016). A click is harmful if the
IoU falls by more than 0.05. NoC85 is the number of clicks to IoU 0.85; it is ten if that is not reached. A click is
unsatisfied if the mask contradicts it. Times are CPU times of one thread of OpenCV.

    python tests/benchmarks/classical_quality.py [--data FOLDER ...] [--model classical] [--jobs 1] [--records FILE]

FOLDER holds index.json, `{"items": [{"id", "image", "mask"}, ...]}`, with masks of 255 object, 128 unsure, 0 rest. The
part of an id before its first `_` names a group; each group and all objects together get a row. Without a folder, a
dozen images are drawn; they tell whether something is broken, not how good the masks are on photographs.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sam_model import load_segmenter
from sam_model.interfaces import Segmenter
from sam_model.types import Image, Mask, Point, Prompt

HARM = 0.05  # IoU
MAX_CLICKS = 10


@dataclass(frozen=True)
class Sample:
    """An image, the object meant in it, and the pixels that count."""

    name: str
    image: Image
    truth: Mask
    counts: Mask


@dataclass
class Record:
    """Masks' quality, scores and times for one sample."""

    name: str
    box_iou: float = 0.0
    box_score: float = 0.0
    click_ious: list[float] = field(default_factory=list)
    click_scores: list[float] = field(default_factory=list)
    clicks: list[tuple[float, float, bool]] = field(default_factory=list)
    unsatisfied: int = 0  # clicks that their own mask contradicts
    embed_ms: float = 0.0
    box_ms: float = 0.0
    click_ms: list[float] = field(default_factory=list)


def samples_in(folder: Path) -> Iterator[Sample]:
    """Read the samples of a folder."""
    for item in json.loads((folder / "index.json").read_text())["items"]:
        image = cv2.cvtColor(cv2.imread(str(folder / item["image"])), cv2.COLOR_BGR2RGB)
        labels = cv2.imread(str(folder / item["mask"]), cv2.IMREAD_GRAYSCALE)
        yield Sample(item["id"], image, labels == 255, labels != 128)


def drawn_samples(count: int = 12, seed: int = 20) -> Iterator[Sample]:
    """Draw images (512 x 384) with blobs of two colours and a textured background with similar blobs."""
    rng = np.random.default_rng(seed)
    for k in range(count):
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


def bounding_box(truth: Mask) -> tuple[float, float, float, float]:
    """Return the smallest box around an object."""
    rows, columns = np.flatnonzero(truth.any(axis=1)), np.flatnonzero(truth.any(axis=0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def iou(truth: Mask, counts: Mask, mask: Mask) -> float:
    """Return the IoU of a mask with the truth, over the pixels that count."""
    mask, truth = mask & counts, truth & counts
    return np.count_nonzero(mask & truth) / max(1, np.count_nonzero(mask | truth))


def next_click(truth: Mask, counts: Mask, mask: Mask, clicks: list[Point]) -> Point | None:
    """Return the point of the largest wrong region that is farthest from its border.

    The image border counts as border.
    """
    deepest: tuple[float, Point] | None = None
    for is_positive, wrong in ((True, truth & ~mask), (False, mask & ~truth)):
        padded = np.pad((wrong & counts).astype(np.uint8), 1)
        depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
        for click in clicks:
            depth[int(click.y), int(click.x)] = 0
        row, column = np.unravel_index(int(depth.argmax()), depth.shape)
        if depth[row, column] > (deepest[0] if deepest else 0):
            deepest = float(depth[row, column]), Point(column + 0.5, row + 0.5, is_positive)
    return deepest[1] if deepest else None


def measure(segmenter: Segmenter[Any], sample: Sample, max_clicks: int = MAX_CLICKS) -> Record:
    """Simulate the annotator on one sample."""
    cv2.setNumThreads(1)
    record = Record(sample.name)

    start = time.process_time()
    embedding = segmenter.embed(sample.image)
    record.embed_ms = 1e3 * (time.process_time() - start)

    def answer(prompt: Prompt) -> tuple[Mask, float, float]:
        start = time.process_time()
        scored = segmenter.segment(embedding, [prompt])[0]
        return scored.mask, scored.score, 1e3 * (time.process_time() - start)

    mask, record.box_score, record.box_ms = answer(Prompt(box=bounding_box(sample.truth)))
    record.box_iou = iou(sample.truth, sample.counts, mask)
    clicks: list[Point] = []
    mask = np.zeros_like(sample.truth)
    while len(clicks) < max_clicks and (click := next_click(sample.truth, sample.counts, mask, clicks)):
        clicks.append(click)
        mask, score, ms = answer(Prompt(tuple(clicks)))
        record.click_ious.append(iou(sample.truth, sample.counts, mask))
        record.click_scores.append(score)
        record.click_ms.append(ms)
        record.unsatisfied += sum(bool(mask[int(p.y), int(p.x)]) != p.is_positive for p in clicks)
    record.clicks = [(float(click.x), float(click.y), click.is_positive) for click in clicks]
    for values in (record.click_ious, record.click_scores):  # without a further wrong pixel, the mask stays
        values += values[-1:] * (max_clicks - len(values))
    return record


def summary(records: list[Record]) -> dict[str, float]:
    """Return the mean figures of some records."""
    ious = np.array([record.click_ious for record in records])
    scores = np.array([record.click_scores for record in records])
    result = {"objects": len(records), "box": np.mean([record.box_iou for record in records])}
    result["box_score"] = np.mean([record.box_score for record in records])
    for k in (1, 3, 5, 10):
        result[f"clicks_{k}"], result[f"score_{k}"] = ious[:, k - 1].mean(), scores[:, k - 1].mean()
    for level in (85, 90):
        reached = ious >= level / 100
        first = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, MAX_CLICKS)
        result[f"noc_{level}"] = first.mean()
    result["harmful_share"] = np.mean(ious[:, 1:] < ious[:, :-1] - HARM)
    result["unsatisfied_clicks"] = sum(record.unsatisfied for record in records)
    times = {
        "embed": [record.embed_ms for record in records],
        "box": [record.box_ms for record in records],
        "click": np.concatenate([record.click_ms for record in records]),
    }
    for name, values in times.items():
        result[f"{name}_cpu_ms_p50"], result[f"{name}_cpu_ms_p95"] = np.percentile(values, (50, 95))
    return {key: round(float(value), 4) for key, value in result.items()}


def summaries(records: list[Record]) -> dict[str, dict[str, float]]:
    """Return the figures of each group, and of all records."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.name.split("_")[0], []).append(record)
    if len(groups) > 1:
        groups["all"] = records
    return {name: summary(group) for name, group in groups.items()}


def measure_all(measure_one: Callable[[Sample], Record], samples: list[Sample], jobs: int) -> list[Record]:
    """Measure the samples, in `jobs` processes."""
    measure_one(samples[0])  # warm-up: the first call imports and allocates
    if jobs == 1:
        return [measure_one(sample) for sample in samples]
    with ProcessPoolExecutor(jobs) as pool:
        return list(pool.map(measure_one, samples, chunksize=4))


def table(rows: dict[str, dict[str, float]]) -> str:
    """Return figures as text, one row per group."""
    lines = ["{:<26}".format("") + "".join(f"{key.replace('_cpu_ms_', ' '):>12}" for key in next(iter(rows.values())))]
    lines += [
        f"{name:<26}" + "".join(f"{value:>12.4g}" for value in figures.values()) for name, figures in rows.items()
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure the model on every folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", help="folders with index.json, images and masks")
    parser.add_argument("--model", default="classical")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--limit", type=int, help="only the first N objects of each folder")
    parser.add_argument("--records", type=Path, help="JSON file for each object's figures")
    options = parser.parse_args()
    sets = {folder.name: list(samples_in(folder))[: options.limit] for folder in options.data or ()}
    sets = sets or {"drawn": list(drawn_samples())[: options.limit]}
    segmenter = load_segmenter(options.model)
    results, records = {}, {}
    for name, samples in sets.items():
        measured = measure_all(partial(measure, segmenter), samples, options.jobs)
        results[name], records[name] = summaries(measured), [asdict(record) for record in measured]
        print(table({f"{name} {group}": figures for group, figures in results[name].items()}), flush=True)
    if options.records:
        options.records.write_text(json.dumps(records))
    about = {
        "benchmark": "classical_quality",
        "fingerprint": segmenter.fingerprint,
        "machine": platform.machine(),
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "opencv": cv2.__version__,
    }
    print(json.dumps(about | {"sets": results}))


if __name__ == "__main__":
    main()
