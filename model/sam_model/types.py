"""The types that the model side works with.

All coordinates are pixels of the original image, turned upright, as continuous numbers with x before y. (0, 0) is the
outer corner of the first pixel and (width, height) that of the last, so the pixel in column j and row i covers [j, j +
1) x [i, i + 1). Boxes are (x_min, y_min, x_max, y_max), sizes (height, width), images RGB uint8 (H, W, 3), masks bool
(H, W).
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Point:
    """A point prompt at (`x`, `y`) in pixels: on the object if positive, beside it if negative."""

    x: float
    y: float
    is_positive: bool = True


@dataclass(frozen=True)
class Prompt:
    """The prompts for one object: points, a box, the logits of an earlier mask. At least one of them is needed.

    `mask_input` takes the `low_res_logits` of an earlier mask of the same object; `mask` takes a mask (H, W) of the
    object in its place, and is ignored by segmenters that do not use mask inputs. `multimask` asks for several
    candidate masks; None leaves the choice to the segmenter, which returns the best of several for a single point.
    """

    points: tuple[Point, ...] = ()
    box: Box | None = None
    mask_input: NDArray[np.float32] | None = field(default=None, compare=False)
    multimask: bool | None = None
    mask: Mask | None = field(default=None, compare=False)


@dataclass(frozen=True)
class ScoredMask:
    """A mask (H, W) and the segmenter's estimate of its quality.

    `score` is a predicted IoU, around 0..1; SAM's may be a little above 1. `low_res_logits` can be passed on as
    `Prompt.mask_input`; it is None if the segmenter has no logits. `alternatives` holds the other candidates,
    highest-scoring first, if the prompt asked for `multimask`.
    """

    mask: Mask
    score: float
    low_res_logits: NDArray[np.float32] | None = None
    alternatives: tuple["ScoredMask", ...] = ()


@dataclass(frozen=True)
class Detection:
    """A detected object: its box in pixels, its score in 0..1 and its class. `mask` (H, W) is None if the detector
    finds boxes only.
    """

    box: Box
    score: float
    class_id: int
    class_name: str
    mask: Mask | None = None
