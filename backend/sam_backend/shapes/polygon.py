"""A mask -> the values of polygon regions, in percent of the image: one polygon for each part of the mask.

Source: Label Studio's `<PolygonLabels>`. Its polygons have no holes: holes of the mask are filled.
"""

from typing import Any

import cv2

from sam_model.masks.polygons import Outline, polygons_from_mask
from sam_model.types import Mask

TOLERANCE_PX = 1.0  # maximum error of a simplified outline; it has few enough vertices to be edited
MIN_PART_AREA = 0.01  # of the largest part's area; smaller parts are left out


def polygon_values(mask: Mask) -> list[dict[str, Any]]:
    """Return the outlines of the parts of a mask (H, W), the largest first; none for an empty mask."""
    outlines = [polygon.outer for polygon in polygons_from_mask(mask, TOLERANCE_PX)]
    areas = [cv2.contourArea(outline) if len(outline) > 2 else 0.0 for outline in outlines]
    if not any(areas):  # parts so thin that simplifying leaves nothing of them
        outlines = [polygon.outer for polygon in polygons_from_mask(mask)]
        areas = [cv2.contourArea(outline) for outline in outlines]
    min_area = MIN_PART_AREA * max(areas, default=0.0)
    by_area = sorted(range(len(outlines)), key=lambda index: -areas[index])
    return [
        {"points": _percent(outlines[index], mask.shape), "closed": True}
        for index in by_area
        if areas[index] >= min_area > 0
    ]


def _percent(outline: Outline, size: tuple[int, ...]) -> list[list[float]]:
    height, width = size
    return [[100 * float(x) / width, 100 * float(y) / height] for x, y in outline]
