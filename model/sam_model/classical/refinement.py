"""From a probability per superpixel to a mask with exact borders: a narrow GrabCut, then a guided filter.

Sources: GrabCut, Rother et al., SIGGRAPH 2004; guided image filtering, He et al., TPAMI 2013.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_model.classical.region_graph import Floats

SURELY = 0.93


def guided_filter(guide: Floats, values: Floats, radius: int, smoothness: float) -> Floats:
    """Smooth `values` (H, W) but not across the edges of `guide` (H, W)."""

    def mean(image: Floats) -> Floats:
        return cv2.boxFilter(image, -1, (2 * radius + 1, 2 * radius + 1))

    mean_guide, mean_values = mean(guide), mean(values)
    slope = (mean(guide * values) - mean_guide * mean_values) / (
        mean(guide * guide) - mean_guide * mean_guide + smoothness
    )
    return mean(slope) * guide + mean(mean_values - slope * mean_guide)


def cut(photo: NDArray[np.uint8], probability: Floats, certain: NDArray[np.uint8]) -> Floats:
    """One GrabCut round on RGB (H, W, 3), between where `probability` (H, W) is sure; returns a new probability.

    `certain` (H, W) holds 1 where a prompt says object, 2 where it says background, else 0.
    """
    labels = np.where(probability > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[probability > SURELY] = cv2.GC_FGD
    labels[probability < 1 - SURELY] = cv2.GC_BGD
    labels[certain == 1] = cv2.GC_FGD
    labels[certain == 2] = cv2.GC_BGD
    is_object = (labels & 1) > 0
    if is_object.sum() <= 20 or (~is_object).sum() <= 20:
        return probability
    cv2.setRNGSeed(0)
    cv2.grabCut(photo, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 1, cv2.GC_INIT_WITH_MASK)
    return (0.65 * ((labels & 1) > 0) + 0.35 * probability).astype(np.float32)
