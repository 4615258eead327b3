"""A mask -> the value of a rectangle region: percent of the image. Source: Label Studio's `<RectangleLabels>`."""

from typing import Any

from sam_model.masks.boxes import box_from_mask
from sam_model.types import Mask


def rectangle_value(mask: Mask) -> dict[str, Any]:
    """The smallest rectangle around a mask (H, W); pixel edges count, so one pixel of ten is 10 percent wide.

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
