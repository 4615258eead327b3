"""Stability score of a mask's logits.

Source: SAM, arXiv:2304.02643, appendix B, "Filtering".
"""

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]


def stability_score(logits: Logits, mask_threshold: float, offset: float) -> float:
    """Return the IoU of the masks at `mask_threshold` + `offset` and at `mask_threshold` - `offset`, 0..1.

    The first mask lies within the second, so the IoU is the quotient of their areas. It is computed in float32, as in
    the reference. NaN if both masks are empty.

    Args:
        logits: (H, W) of any size; the reference uses the size of the original image.
        mask_threshold: logits above it belong to the mask.
        offset: distance of the two thresholds from `mask_threshold`.
    """
    smaller = np.count_nonzero(logits > np.float32(mask_threshold + offset))
    larger = np.count_nonzero(logits > np.float32(mask_threshold - offset))
    return float(np.float32(smaller) / np.float32(larger)) if larger else float("nan")
