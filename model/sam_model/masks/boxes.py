"""Boxes (x_min, y_min, x_max, y_max) in pixels, ends exclusive: IoU, non-maximum suppression, the box of a mask."""

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_model.types import Box, Mask

SUPPRESSED_AT_ONCE = 256  # boxes that are compared with each other and with those that stay, in one matrix

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
    order = np.argsort(-scores, kind="stable")
    corners = np.ascontiguousarray(boxes[order].astype(np.float32, copy=False).T)  # (4, N)
    most = _largest_float32(iou_threshold)  # torchvision's threshold is a double
    kept: NDArray[np.intp] = np.empty(0, dtype=np.intp)
    for start in range(0, len(order), SUPPRESSED_AT_ONCE):
        if limit is not None and len(kept) >= limit:
            break
        part: NDArray[np.intp] = np.arange(start, min(start + SUPPRESSED_AT_ONCE, len(order)))
        # NaN, of two empty boxes, drops nothing
        part = part[~(_iou_matrix(corners[:, kept], corners[:, part]) > most).any(axis=0)]
        drops = _iou_matrix(corners[:, part], corners[:, part]) > most
        stays = np.ones(len(part), dtype=bool)
        for place in range(len(part)):
            if stays[place]:
                stays[place + 1 :] &= ~drops[place, place + 1 :]
        kept = np.concatenate([kept, part[stays]])
    found: NDArray[np.intp] = order[kept[:limit]]
    return found


def _iou_matrix(corners: Boxes, others: Boxes) -> Boxes:
    """Return the IoU (N, M) of boxes (4, N) with others (4, M), as `box_iou` computes it."""
    width, height = (
        np.maximum(np.minimum(corners[i + 2, :, None], others[i + 2]) - np.maximum(corners[i, :, None], others[i]), 0)
        for i in (0, 1)
    )
    shared = np.multiply(width, height, out=width)
    union = box_areas(corners.T)[:, None] + box_areas(others.T) - shared
    with np.errstate(invalid="ignore"):
        iou: Boxes = np.divide(shared, union, out=shared)
    return iou


def _largest_float32(limit: float) -> np.float32:
    """Return the largest number of float32 that is not above a limit."""
    near = np.float32(limit)
    return near if float(near) <= limit else np.nextafter(near, np.float32(-np.inf))
