"""Boxes (x_min, y_min, x_max, y_max) in pixels, ends exclusive: IoU, non-maximum suppression, the box of a mask."""

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_model.types import Box, Mask

Boxes = NDArray[np.float32]


def box_from_mask(mask: Mask) -> Box | None:
    """Return the smallest box around a mask (H, W), to the pixels' outer edges, or None if the mask is empty."""
    if mask.size == 0:
        return None
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    if width == 0:
        return None
    return float(x), float(y), float(x + width), float(y + height)


def box_areas(boxes: Boxes) -> Boxes:
    """Return the areas (N,) of `boxes` (N, 4)."""
    areas: Boxes = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return areas


def box_iou(box: Boxes, boxes: Boxes) -> Boxes:
    """Return the IoU (N,) of one `box` (4,) with each of `boxes` (N, 4). NaN if both boxes are empty."""
    corners = np.concatenate([np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])], axis=1)
    sides = np.maximum(corners[:, 2:] - corners[:, :2], 0)
    intersection = sides[:, 0] * sides[:, 1]
    union = box_areas(box[None]) + box_areas(boxes) - intersection
    with np.errstate(invalid="ignore"):
        iou: Boxes = intersection / union
    return iou


def non_maximum_suppression(
    boxes: Boxes, scores: NDArray[np.float32], iou_threshold: float, limit: int | None = None
) -> NDArray[np.intp]:
    """Return the indices of the boxes that stay, highest-scoring first.

    A box is dropped if its IoU with a kept box of a higher score is above `iou_threshold`. As in torchvision
    (torchvision/csrc/ops/cpu/nms_kernel.cpp, BSD-3-Clause), equal scores keep their order, the IoU is computed in
    float32, and an IoU equal to the threshold drops nothing, so the same boxes stay.

    Args:
        boxes: (N, 4).
        scores: (N,).
        iou_threshold: 0..1.
        limit: return only so many; None for all.
    """
    boxes = boxes.astype(np.float32, copy=False)
    remaining = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(remaining) and (limit is None or len(kept) < limit):
        best, remaining = remaining[0], remaining[1:]
        kept.append(int(best))
        overlaps = box_iou(boxes[best], boxes[remaining]).astype(np.float64)  # torchvision's threshold is a double
        remaining = remaining[~(overlaps > iou_threshold)]  # NaN, of two empty boxes, drops nothing
    return np.array(kept, dtype=np.intp)
