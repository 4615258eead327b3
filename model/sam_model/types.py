"""The values that travel through the model side, in pixels of the upright original image.

Coordinates are continuous, x before y: (0, 0) is the outer corner of the first pixel, (width, height) that of the
last, so pixel (column j, row i) covers [j, j + 1) x [i, i + 1). Boxes are (x_min, y_min, x_max, y_max), sizes
(height, width), images RGB uint8 (H, W, 3), masks bool (H, W).
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Point:
    """A click, at (`x`, `y`) pixels: on the object when positive, beside it when not."""

    x: float
    y: float
    is_positive: bool = True


@dataclass(frozen=True)
class Prompt:
    """All that is known about one object: clicks, a box, the logits of an earlier answer; at least one of them.

    `mask_input` is the `low_res_logits` of an earlier answer for the same object.
    `multimask` asks for several candidate masks; None leaves it to the segmenter (several for one ambiguous click).
    """

    points: tuple[Point, ...] = ()
    box: Box | None = None
    mask_input: NDArray[np.float32] | None = field(default=None, compare=False)
    multimask: bool | None = None


@dataclass(frozen=True)
class ScoredMask:
    """A mask (H, W) with the segmenter's own estimate of its quality.

    `score` is a predicted IoU, around 0..1 (SAM's head may answer a little above 1).
    `low_res_logits` can be given back as `Prompt.mask_input`; None where a segmenter has none.
    `alternatives` holds the other candidates, best first, where the prompt asked for `multimask`.
    """

    mask: Mask
    score: float
    low_res_logits: NDArray[np.float32] | None = None
    alternatives: tuple["ScoredMask", ...] = ()


@dataclass(frozen=True)
class Detection:
    """An object that a detector found: where, how sure, and what; `mask` (H, W) where the detector makes masks too."""

    box: Box
    score: float
    class_id: int
    class_name: str
    mask: Mask | None = None
