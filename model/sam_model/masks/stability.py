"""What is asked of a mask or of its logits: how stable it is, its specks and holes, its soft border.

Sources: SAM, arXiv:2304.02643 (stability: appendix B, "Filtering"; edges: section 7.2 and appendix D.2);
segment-anything 1.0, utils/amg.py (Apache-2.0) for what counts as small.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_model.types import Mask

Logits = NDArray[np.float32]


def stability_score(logits: Logits, mask_threshold: float, offset: float) -> float:
    """IoU of the masks cut at `mask_threshold` plus and minus `offset`; NaN where both are empty.

    The one lies within the other, so that counting pixels is enough; a float32 quotient, as the reference's.

    Args:
        logits: (H, W), of any size; the reference takes the original image's.
        mask_threshold: where the mask itself is cut.
        offset: how far the cut is moved.
    """
    smaller = np.count_nonzero(logits > np.float32(mask_threshold + offset))
    larger = np.count_nonzero(logits > np.float32(mask_threshold - offset))
    return float(np.float32(smaller) / np.float32(larger)) if larger else float("nan")


def without_holes(mask: Mask, min_area: float) -> tuple[Mask, bool]:
    """The mask (H, W) with its holes below `min_area` pixels filled, and whether any was."""
    parts, areas = _parts(~mask)
    small = np.flatnonzero(areas < min_area) + 1
    if not len(small):
        return mask, False
    return mask | np.isin(parts, small), True


def without_specks(mask: Mask, min_area: float) -> tuple[Mask, bool]:
    """The mask (H, W) without parts below `min_area` pixels, the largest kept anyway, and whether any was dropped."""
    parts, areas = _parts(mask)
    large = np.flatnonzero(areas >= min_area) + 1
    if len(large) == len(areas):
        return mask, False
    return np.isin(parts, large if len(large) else [int(np.argmax(areas)) + 1]), True


def _parts(mask: Mask) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Which part each pixel belongs to, 0 for none, and the area of the parts from 1 on; corners connect."""
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    return parts.astype(np.int32, copy=False), stats[1:, cv2.CC_STAT_AREA].astype(np.int32, copy=False)


def soft_border(logits: Logits, mask_threshold: float = 0.0) -> NDArray[np.float32]:
    """How steeply the mask's probability changes at each pixel (H, W) of its outer border, 0 elsewhere.

    The Sobel gradient of the probabilities, kept where it meets the mask's outer boundary: where the boundary is
    unsure the gradient is small.
    """
    probability = cv2.exp(-np.abs(logits))
    probability = np.where(logits >= 0, 1, probability) / (1 + probability)
    gradient = cv2.magnitude(cv2.Sobel(probability, cv2.CV_32F, 1, 0), cv2.Sobel(probability, cv2.CV_32F, 0, 1))
    mask = (logits > mask_threshold).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    border = cv2.drawContours(np.zeros_like(mask), contours, -1, 1, thickness=3)  # Sobel sees one pixel to each side
    result: NDArray[np.float32] = np.where(border == 1, gradient, np.float32(0))
    return result


def thin_edges(edges: NDArray[np.float32]) -> NDArray[np.float32]:
    """The edge map (H, W) with only the crest of each edge left: edge non-maximum suppression.

    A pixel stays when it is no smaller than the two values beside it across the edge, bilinearly interpolated.
    Source: Canny, "A Computational Approach to Edge Detection", 1986, section VI; the normal is taken from second
    derivatives as in structured edge detection (Dollár and Zitnick, arXiv:1406.5549), since an edge map is a ridge.
    """
    smooth = cv2.GaussianBlur(edges, (0, 0), 1.5)
    xx = cv2.Sobel(smooth, cv2.CV_32F, 2, 0)
    yy = cv2.Sobel(smooth, cv2.CV_32F, 0, 2)
    xy = cv2.Sobel(smooth, cv2.CV_32F, 1, 1)
    # the Hessian's eigenvectors lie along and across a ridge; across it bends most, on the crest and on the flanks
    normal = np.arctan2(2 * xy, xx - yy) / 2 + np.where(xx + yy < 0, np.pi / 2, 0)
    normal = normal.astype(np.float32)
    x, y = np.meshgrid(np.arange(edges.shape[1], dtype=np.float32), np.arange(edges.shape[0], dtype=np.float32))
    is_crest = np.ones(edges.shape, dtype=bool)
    for side in (-1, 1):
        beside = cv2.remap(
            edges, x + side * np.cos(normal), y + side * np.sin(normal), cv2.INTER_LINEAR, borderValue=0.0
        )
        is_crest &= edges >= beside
    thinned: NDArray[np.float32] = np.where(is_crest, edges, np.float32(0))
    return thinned
