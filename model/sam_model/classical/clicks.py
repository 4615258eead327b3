"""What clicks decide about a finished mask: the pixels around them, and which regions and holes stay."""

import math

import cv2
import numpy as np

from sam_model.masks.cleaning import Pixel, fill_holes, keep_regions
from sam_model.types import Mask

CLICK_RADIUS = 0.004  # of the disc around a click whose pixels get the click's label; share of the image's diagonal
SMALL_HOLE = 0.03  # share of the mask's area; smaller holes without a negative click are filled
SMALL_REGION = 0.1  # share of the largest region's area; smaller regions without a positive click are removed


def click_radius(image_size: tuple[int, int]) -> int:
    """Return the radius in pixels of the disc around a click, for an image of (height, width)."""
    return max(1, round(CLICK_RADIUS * math.hypot(*image_size)))


def apply_clicks(mask: Mask, positive: list[Pixel], negative: list[Pixel], radius: int, has_box: bool) -> Mask:
    """Return a mask (H, W) that agrees with the clicks, without regions and holes that they do not ask for.

    Regions without a positive click are removed. With a box, or without positive clicks, only small ones are.

    Args:
        mask: (H, W); changed.
        positive: pixels (row, column) of the clicks on the object.
        negative: pixels (row, column) of the clicks beside it.
        radius: of the disc around each click, in pixels.
        has_box: whether the prompt has a box, too.
    """
    _draw_discs(mask, positive, negative, radius)
    mask = keep_regions(mask, positive, SMALL_REGION if has_box or not positive else None)
    return fill_holes(mask, SMALL_HOLE * np.count_nonzero(mask), keep=negative, connectivity=4)


def _draw_discs(mask: Mask, positive: list[Pixel], negative: list[Pixel], radius: int) -> None:
    """Set the disc around each click to the click's label; a positive click's own pixel stays in the mask."""
    pixels = mask.view(np.uint8)
    for value, clicks in ((1, positive), (0, negative)):
        for row, column in clicks:
            cv2.circle(pixels, (column, row), radius, value, -1)
    for row, column in positive:
        mask[row, column] = True
