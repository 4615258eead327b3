"""Exact borders of a mask: colours of pixels, and a guided filter.

Sources: guided image filtering, He et al., TPAMI 2013; the filter's coefficients are fitted on few pixels and
applied to many, He & Sun, arXiv:1505.00996.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_model.classical.colour_words import Floats

BINS = 16  # of the colour histograms, per channel of 8-bit Lab
RARE = 0.02  # share of the mean bin; below it, a colour has little weight
MAX_RATIO = 3.0  # of a colour's log ratio


def colour_log_ratio(photo: NDArray[np.uint8], inside: Floats, outside: Floats) -> tuple[Floats, float]:
    """Return the log ratio (H, W) of each pixel's colour in the object to that outside it, and how distinct they are.

    The distinctness is 1 if no colour is on both sides, 0 if the colours are the same (Bhattacharyya).
    `photo` is 8-bit Lab (H, W, 3); `inside` and `outside` (H, W) are each pixel's weights as object and as ground.
    """
    light, a, b = (photo[..., k].astype(np.int32) for k in range(3))
    a, b = np.clip(a - 64, 0, 127), np.clip(b - 64, 0, 127)  # photographs seldom have more saturated colours
    word = ((light >> 4) * BINS + (a >> 3)) * BINS + (b >> 3)

    def frequency(weights: Floats) -> Floats:
        counts = np.bincount(word.ravel(), weights.ravel(), BINS**3).reshape(BINS, BINS, BINS)
        for axis in range(3):
            padded = np.pad(counts, [(1, 1) if k == axis else (0, 0) for k in range(3)])
            first, middle, last = (np.take(padded, np.arange(k, k + BINS), axis) for k in range(3))
            counts = 0.25 * first + 0.5 * middle + 0.25 * last
        return np.asarray(counts / (counts.sum() + 1e-9))

    rare = RARE / BINS**2
    one, other = frequency(inside), frequency(outside)
    ratio = np.clip(np.log((one + rare) / (other + rare)), -MAX_RATIO, MAX_RATIO)
    return np.asarray(ratio.ravel()[word]), 1 - float(np.sqrt(one * other).sum())


def guided_coefficients(guide: Floats, values: Floats, radius: int, smoothness: float) -> tuple[Floats, Floats]:
    """Return slope and offset (H, W): `slope * guide + offset` is `values`, smoothed except at the edges of `guide`."""
    size = (2 * radius + 1, 2 * radius + 1)

    def mean(image: Floats) -> Floats:
        return np.asarray(cv2.boxFilter(image, cv2.CV_32F, size), np.float32)

    mean_guide, mean_values = mean(guide), mean(values)
    variance = mean(guide * guide) - mean_guide * mean_guide
    slope = (mean(guide * values) - mean_guide * mean_values) / (variance + np.float32(smoothness))
    return mean(slope), mean(mean_values - slope * mean_guide)
