"""Soft edges of masks, and their thinning, for edge maps.

Source: SAM, arXiv:2304.02643, section 7.2 and appendix D.2.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_model.masks.stability import Logits

TIE = 1e-5  # of edge strengths: the last bits of float32 depend on where an array lies in memory


def soft_border(logits: Logits, mask_threshold: float = 0.0) -> NDArray[np.float32]:
    """Return the gradient of the mask's probability (H, W) at its outer border, 0 elsewhere.

    The gradient is Sobel's. It is small where the border is uncertain.

    Args:
        logits: (H, W).
        mask_threshold: logits above it belong to the mask.
    """
    probability = cv2.exp(-np.abs(logits))
    probability = np.where(logits >= 0, 1, probability) / (1 + probability)
    gradient = cv2.magnitude(cv2.Sobel(probability, cv2.CV_32F, 1, 0), cv2.Sobel(probability, cv2.CV_32F, 0, 1))
    mask = (logits > mask_threshold).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    border = cv2.drawContours(np.zeros_like(mask), contours, -1, 1, thickness=3)  # Sobel reaches one pixel further
    result: NDArray[np.float32] = np.where(border == 1, gradient, np.float32(0))
    return result


def thin_edges(edges: NDArray[np.float32]) -> NDArray[np.float32]:
    """Keep only the crest of each edge of an edge map (H, W): edge non-maximum suppression.

    A pixel stays if it is at least as large as its two neighbours across the edge, bilinearly interpolated.

    Source: Canny, "A Computational Approach to Edge Detection", 1986, section VI. The edge's normal comes from second
    derivatives, as in structured edge detection (Dollár and Zitnick, arXiv:1406.5549), since an edge map is a ridge.
    """
    smooth = cv2.GaussianBlur(edges, (0, 0), 1.5)
    xx = cv2.Sobel(smooth, cv2.CV_32F, 2, 0)
    yy = cv2.Sobel(smooth, cv2.CV_32F, 0, 2)
    xy = cv2.Sobel(smooth, cv2.CV_32F, 1, 1)
    # the Hessian's eigenvectors are along and across the ridge; the curvature is larger across it, on crest and flanks
    normal = np.arctan2(2 * xy, xx - yy) / 2 + np.where(xx + yy < 0, np.pi / 2, 0)
    normal = normal.astype(np.float32)
    x, y = np.meshgrid(np.arange(edges.shape[1], dtype=np.float32), np.arange(edges.shape[0], dtype=np.float32))
    is_crest = np.ones(edges.shape, dtype=bool)
    for side in (-1, 1):
        neighbour = cv2.remap(
            edges, x + side * np.cos(normal), y + side * np.sin(normal), cv2.INTER_LINEAR, borderValue=0.0
        )
        is_crest &= edges >= neighbour - TIE
    thinned: NDArray[np.float32] = np.where(is_crest, edges, np.float32(0))
    return thinned
