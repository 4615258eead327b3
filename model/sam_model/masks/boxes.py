"""Boxes (x_min, y_min, x_max, y_max) in pixels, ends exclusive: overlap, suppression, the box of a mask."""

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_model.types import Box, Mask

Boxes = NDArray[np.float32]


def box_from_mask(mask: Mask) -> Box | None:
    """The smallest box around a mask (H, W), pixel edges counted; None around nothing."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    if width == 0:
        return None
    return float(x), float(y), float(x + width), float(y + height)


def box_areas(boxes: Boxes) -> Boxes:
    """The areas (N,) of `boxes` (N, 4)."""
    areas: Boxes = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return areas


def box_iou(box: Boxes, boxes: Boxes) -> Boxes:
    """Intersection over union of one `box` (4,) with each of `boxes` (N, 4): (N,); NaN where both are empty."""
    corners = np.concatenate([np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])], axis=1)
    sides = np.maximum(corners[:, 2:] - corners[:, :2], 0)
    intersection = sides[:, 0] * sides[:, 1]
    union = box_areas(box[None]) + box_areas(boxes) - intersection
    with np.errstate(invalid="ignore"):
        iou: Boxes = intersection / union
    return iou


def non_maximum_suppression(boxes: Boxes, scores: NDArray[np.float32], iou_threshold: float) -> NDArray[np.intp]:
    """Indices of the boxes that no better kept box overlaps by more than `iou_threshold`, best first.

    Equal scores keep the order they came in; the arithmetic is float32 and an overlap of exactly the threshold is
    kept, both as in torchvision (torchvision/csrc/ops/cpu/nms_kernel.cpp, BSD-3-Clause), so that the same boxes stay.

    Args:
        boxes: (N, 4).
        scores: (N,).
        iou_threshold: 0..1.
    """
    boxes = boxes.astype(np.float32, copy=False)
    waiting = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        kept.append(int(best))
        overlaps = box_iou(boxes[best], boxes[waiting]).astype(np.float64)  # the threshold is a double there
        waiting = waiting[~(overlaps > iou_threshold)]  # NaN, of two empty boxes, suppresses nothing
    return np.array(kept, dtype=np.intp)
