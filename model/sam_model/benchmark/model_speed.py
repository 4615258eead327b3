"""Time of a model per image on this machine, for one prompt and for everything."""

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import torch

from sam_model.benchmark.compared_model import ComparedModel
from sam_model.interfaces import Segmenter
from sam_model.sam.automatic_mask_settings import AutomaticMaskSettings
from sam_model.sam.automatic_masks import segment_everything
from sam_model.sam.segmenter import SamSegmenter
from sam_model.types import Image, Point, Prompt
from sam_model.yolo.fast_sam import FastSamSegmenter

LONG_S = 3.0  # a call that takes longer is timed once, without warm-up
REPEATS = 5  # of a shorter call, after one for warm-up; the median counts


@dataclass(frozen=True)
class ModelSpeed:
    """One row of the benchmark; times in milliseconds, None if the model cannot do that."""

    name: str
    licence: str
    size_mb: float
    is_size_exact: bool
    parameters: int
    is_seeded: bool  # random weights
    prompt_ms: float | None  # a new image and the mask of one point
    next_prompt_ms: float | None  # another point on the same image
    everything_ms: float | None  # a new image and all its masks or boxes


def measure(compared: ComparedModel, image: Image, points_per_side: int | None = 32) -> ModelSpeed:
    """Time a model on an RGB uint8 image (H, W, 3).

    Args:
        compared: the model.
        image: the input.
        points_per_side: size of the grid with which a SAM segments everything; None leaves that out.
    """
    model = compared.model
    prompt_ms = next_prompt_ms = everything_ms = None
    if isinstance(model, SamSegmenter | FastSamSegmenter):
        prompt_ms, next_prompt_ms = _prompt_ms(model, image)
    if isinstance(model, SamSegmenter):
        if points_per_side is not None:
            settings = AutomaticMaskSettings(points_per_side=points_per_side)
            everything_ms = duration_ms(lambda: segment_everything(model, image, settings))
    elif isinstance(model, FastSamSegmenter):
        everything_ms = duration_ms(lambda: model.embed(image))
    else:
        everything_ms = duration_ms(lambda: model.detect(image))
    return ModelSpeed(
        compared.weights.model,
        compared.weights.licence,
        round(compared.size_mb, 1),
        compared.is_size_exact,
        compared.parameters,
        compared.is_seeded,
        prompt_ms,
        next_prompt_ms,
        everything_ms,
    )


def duration_ms(work: Callable[[], object]) -> float:
    """Return the time of a call in milliseconds: the median of several calls, or one call if it takes long."""
    first = _seconds(work)
    seconds = first if first > LONG_S else median(_seconds(work) for _ in range(REPEATS))
    return round(1000 * seconds, 1)


def synthetic_image(height: int = 720, width: int = 1280) -> Image:
    """Return an image (H, W, 3) with a soft background and ellipses of all sizes, always the same."""
    rng = np.random.default_rng(0)
    ground = rng.integers(60, 200, (6, 10, 3), dtype=np.uint8)
    image = np.asarray(cv2.resize(ground, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    for radius in np.geomspace(height / 4, 6, 40):
        centre = int(rng.integers(width)), int(rng.integers(height))
        axes = int(radius), int(radius * rng.uniform(0.3, 1))
        colour = tuple(map(int, rng.integers(0, 256, 3)))
        cv2.ellipse(image, centre, axes, float(rng.integers(180)), 0, 360, colour, cv2.FILLED, cv2.LINE_AA)
    return image


def machine_info() -> dict[str, Any]:
    """Return what the times depend on: processor, threads, PyTorch, and the load of the machine."""
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": load,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _prompt_ms(model: Segmenter[Any], image: Image) -> tuple[float, float]:
    height, width = image.shape[:2]
    prompts = [Prompt(points=(Point(width / 2, height / 2),))]
    first = duration_ms(lambda: model.segment(model.embed(image), prompts))
    embedding = model.embed(image)
    return first, duration_ms(lambda: model.segment(embedding, prompts))


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
