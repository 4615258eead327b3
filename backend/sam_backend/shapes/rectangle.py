"""Rectangle regions, in percent of the image, from masks and to boxes. Source: Label Studio's `<RectangleLabels>`."""

import math
from typing import Any

import cv2
import numpy as np

from sam_backend.protocol.regions import RotatedRectangle
from sam_model.masks.boxes import box_from_mask
from sam_model.masks.polygons import polygons_from_mask
from sam_model.types import Box, Mask


def rectangle_value(mask: Mask) -> dict[str, Any]:
    """Return the smallest rectangle around a mask (H, W).

    It ends at pixel edges, not at pixel centres: one pixel of an image 10 pixels wide is 10 percent wide.

    Raises:
        ValueError: the mask is empty.
    """
    box = box_from_mask(mask)
    if box is None:
        raise ValueError("an empty mask has no rectangle")
    height, width = mask.shape
    x_min, y_min, x_max, y_max = box
    return {
        "x": 100 * x_min / width,
        "y": 100 * y_min / height,
        "width": 100 * (x_max - x_min) / width,
        "height": 100 * (y_max - y_min) / height,
        "rotation": 0,
    }


def rotated_rectangle_value(mask: Mask) -> dict[str, Any]:
    """Return the rectangle of the smallest area around a mask (H, W), rotated by -45 to 45 degrees.

    `rotation` is clockwise, around the corner (x, y), in pixels: see `box_from_rectangle`.

    Raises:
        ValueError: the mask is empty.
    """
    corners = [polygon.outer for polygon in polygons_from_mask(mask)]
    if not corners:
        raise ValueError("an empty mask has no rectangle")
    (x, y), (box_width, box_height), degrees = cv2.minAreaRect(np.concatenate(corners))
    while degrees > 45:
        box_width, box_height, degrees = box_height, box_width, degrees - 90
    angle = math.radians(degrees)
    left = x - (box_width * math.cos(angle) - box_height * math.sin(angle)) / 2
    top = y - (box_width * math.sin(angle) + box_height * math.cos(angle)) / 2
    height, width = mask.shape
    return {
        "x": 100 * left / width,
        "y": 100 * top / height,
        "width": 100 * box_width / width,
        "height": 100 * box_height / height,
        "rotation": degrees % 360,
    }


def box_from_rectangle(rectangle: RotatedRectangle, image_size: tuple[int, int]) -> Box:
    """Return the smallest upright box around a rotated rectangle, clipped to an image of `image_size` (height, width).

    The rectangle is rotated in pixels: in percent of unequal sides its corners would not be right angles.
    """
    height, width = image_size
    left, top = rectangle.x * width / 100, rectangle.y * height / 100
    box_width, box_height = rectangle.width * width / 100, rectangle.height * height / 100
    angle = math.radians(rectangle.rotation)
    cos, sin = math.cos(angle), math.sin(angle)
    corners = [(u * cos - v * sin, u * sin + v * cos) for u in (0.0, box_width) for v in (0.0, box_height)]
    xs = [min(max(left + x, 0.0), float(width)) for x, _ in corners]
    ys = [min(max(top + y, 0.0), float(height)) for _, y in corners]
    return min(xs), min(ys), max(xs), max(ys)
