"""A mask -> the values of polygon regions: percent of the image, one polygon for each of the mask's parts.

Source: Label Studio's `<PolygonLabels>`. Its polygons have no holes: a hole is filled.
"""

from typing import Any

import cv2

from sam_model.masks.polygons import Outline, polygons_from_mask
from sam_model.types import Mask

TOLERANCE_PX = 1.0  # by which an outline may stray, so that a person can still take hold of its corners
SMALLEST_PART = 0.01  # of the largest part's area; smaller ones are specks that nobody wants to delete one by one


def polygon_values(mask: Mask) -> list[dict[str, Any]]:
    """The outlines of a mask's parts (H, W), the largest first; none of an empty mask."""
    outlines = [polygon.outer for polygon in polygons_from_mask(mask, TOLERANCE_PX)]
    areas = [cv2.contourArea(outline) if len(outline) > 2 else 0.0 for outline in outlines]
    if not any(areas):  # parts so thin that nothing is left of them
        outlines = [polygon.outer for polygon in polygons_from_mask(mask)]
        areas = [cv2.contourArea(outline) for outline in outlines]
    least = SMALLEST_PART * max(areas, default=0.0)
    kept = sorted(range(len(outlines)), key=lambda place: -areas[place])
    return [
        {"points": _percent(outlines[place], mask.shape), "closed": True} for place in kept if areas[place] >= least > 0
    ]


def _percent(outline: Outline, size: tuple[int, ...]) -> list[list[float]]:
    height, width = size
    return [[100 * float(x) / width, 100 * float(y) / height] for x, y in outline]
