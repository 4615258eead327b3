"""Stability score of a mask's logits.

Source: SAM, arXiv:2304.02643, appendix B, "Filtering".
"""

import numpy as np
from numpy.typing import NDArray

from sam_model.masks.upscaling import Axis, Region, mark_above, region_above
from sam_model.types import Mask

Logits = NDArray[np.float32]


def upscaled_mask_with_stability(
    logits: Logits, rows: Axis, columns: Axis, mask_threshold: float, offset: float
) -> tuple[Mask, Region, float]:
    """Return the mask of low-resolution logits in a region of the image, that region, and the stability score.

    No logit outside the region counts for either of them. The score is the IoU of the masks at `mask_threshold` +
    `offset` and at `mask_threshold` - `offset` at the size of the image, 0..1. The first mask lies within the second,
    so the IoU is the quotient of their areas. It is computed in float32, as in the reference; NaN if both are empty.

    Args:
        logits: (`rows.cells`, `columns.cells`).
        rows: from the logits to the image.
        columns: the same.
        mask_threshold: logits above it belong to the mask.
        offset: distance of the two thresholds from `mask_threshold`.
    """
    region = region_above(logits, rows, columns, mask_threshold - offset)
    mask: Mask = np.zeros([part.stop - part.start for part in region], dtype=bool)
    larger, smaller = mark_above(mask, logits, rows, columns, region, mask_threshold, offset)
    score = float(np.float32(smaller) / np.float32(larger)) if larger else float("nan")
    return mask, region, score
