"""The connected parts of a mask: which ones to keep, which holes to fill, and what each click insists on."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_model.types import Mask

CLICK_RADIUS = 0.004  # of the disc that a click certainly holds, in diagonals of the image
SMALL_HOLE = 0.03  # share of the mask; smaller holes without a negative click are filled
SMALL_PART = 0.1  # share of the largest part; smaller ones without a positive click are dropped

Pixel = tuple[int, int]  # row, column


def click_radius(image_size: tuple[int, int]) -> int:
    """Radius in pixels of the disc around a click, for an image of (height, width)."""
    return max(1, round(CLICK_RADIUS * math.hypot(*image_size)))


def mark_clicks(mask: Mask, positive: list[Pixel], negative: list[Pixel], radius: int) -> None:
    """Make a disc around each click what the click says; where discs overlap, each click still keeps its own pixel."""
    pixels = mask.view(np.uint8)
    for value, clicks in ((1, positive), (0, negative)):
        for row, column in clicks:
            cv2.circle(pixels, (column, row), radius, value, -1)
    for row, column in positive:
        mask[row, column] = True


def keep_clicked_parts(mask: Mask, positive: list[Pixel], has_box: bool) -> None:
    """Drop the parts of a mask (H, W) that no click is on; with a box, or without clicks, only the small ones."""
    count, parts, areas = _connected_parts(mask, connectivity=8)
    if count <= 2:
        return
    keep = np.zeros(count, bool)
    keep[[parts[pixel] for pixel in positive]] = True
    if has_box or not positive:
        keep |= areas > SMALL_PART * areas[1:].max()
    keep[0] = False
    mask &= keep[parts]


def fill_small_holes(mask: Mask, negative: list[Pixel]) -> None:
    """Fill the holes of a mask (H, W) that are small and that no negative click is in."""
    count, holes, areas = _connected_parts(~mask, connectivity=4)
    if count <= 2:
        return
    fill = areas < SMALL_HOLE * np.count_nonzero(mask)
    fill[np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]])] = False
    fill[[holes[pixel] for pixel in negative]] = False
    fill[0] = False  # the mask itself
    mask |= fill[holes]


def _connected_parts(mask: Mask, connectivity: int) -> tuple[int, NDArray[np.int32], NDArray[np.int32]]:
    """How many parts, the rest included as part 0; the part of each pixel; the area of each part."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=connectivity)
    return count, np.asarray(parts, np.int32), np.asarray(stats, np.int32)[:, cv2.CC_STAT_AREA]
