"""Boundary IoU of two masks in run lengths.

Source: Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation", CVPR 2021.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_backend.shapes.labeled_objects import LabeledObject
from sam_model.masks.overlap import iou_of_masks
from sam_model.types import Mask

BOUNDARY_SHARE = 0.02  # of the image's diagonal: how far the boundary region reaches into a mask


def boundary_iou(one: LabeledObject, other: LabeledObject) -> float:
    """Return the IoU of the parts of two masks that are within `BOUNDARY_SHARE` of their own outlines."""
    if one.mask.size != other.mask.size:
        return 0.0
    height, width = one.mask.size
    distance = max(1, round(BOUNDARY_SHARE * math.hypot(height, width)))
    x_min, y_min = (int(min(one.box[axis], other.box[axis])) for axis in (0, 1))
    x_max, y_max = (int(max(one.box[axis], other.box[axis])) for axis in (2, 3))
    masks = [_boundary(each.mask.mask[y_min:y_max, x_min:x_max], distance) for each in (one, other)]
    return iou_of_masks(*masks)


def _boundary(mask: Mask, distance: int) -> Mask:
    padded = np.pad(mask.view(np.uint8), 1)  # an object at the image's edge has its outline there
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=distance)[1:-1, 1:-1]
    found: NDArray[np.bool_] = mask & (eroded == 0)
    return found
