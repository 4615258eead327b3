"""A mask -> the value of an ellipse region, in percent of the image.

Source: Label Studio's `<EllipseLabels>`: a center, two radii and a clockwise rotation in degrees. The radii are percent
of the image's width and height, also if the ellipse is rotated.
"""

import math
from typing import Any

import cv2
import numpy as np

from sam_model.types import Mask


def ellipse_value(mask: Mask) -> dict[str, Any]:
    """Return the ellipse with the center, the area and the second moments of a mask (H, W), in proportion.

    Its first radius is the one closer to the horizontal, so that the rotation is -45 to 45 degrees.

    Raises:
        ValueError: the mask is empty.
    """
    moments = cv2.moments(mask.view(np.uint8), binaryImage=True)
    area = moments["m00"]
    if area == 0:
        raise ValueError("an empty mask has no ellipse")
    # a pixel is a square, not a point: its center is half a pixel further, its own variance is 1 / 12
    x, y = moments["m10"] / area + 0.5, moments["m01"] / area + 0.5
    xx, yy, xy = moments["mu20"] / area + 1 / 12, moments["mu02"] / area + 1 / 12, moments["mu11"] / area
    angle = math.atan2(2 * xy, xx - yy) / 2  # of the longer axis
    mean, difference = (xx + yy) / 2, math.hypot((xx - yy) / 2, xy)
    # a filled ellipse has the variance r^2 / 4 along an axis of radius r
    first, second = 2 * math.sqrt(mean + difference), 2 * math.sqrt(max(mean - difference, 0.0))
    if abs(angle) > math.pi / 4:
        first, second, angle = second, first, angle - math.copysign(math.pi / 2, angle)
    same_area = math.sqrt(area / (math.pi * first * second))
    height, width = mask.shape
    return {
        "x": 100 * x / width,
        "y": 100 * y / height,
        "radiusX": 100 * first * same_area / width,
        "radiusY": 100 * second * same_area / height,
        "rotation": math.degrees(angle) % 360,
    }
