"""Polygons slightly inside a mask's outermost pixels, so that different programs fill them alike.

Some programs truncate coordinates to whole pixels and also paint the border pixels (OpenCV's `fillPoly`, in YOLO's
trainers); they paint the outermost pixels themselves. Others use the coordinates as they are (COCO's tools, to a fifth
of a pixel); for them the outline is the pixels' edge. Outlines that met at a corner no longer touch.
"""

import cv2
import numpy as np

from sam_model.masks.polygons import Outline, Polygon, polygons_from_mask
from sam_model.types import Mask

INSET = 0.05  # pixels


def inset_polygons(mask: Mask) -> list[Polygon]:
    """Return the polygons of a mask (H, W), moved into the mask by `INSET`. Every corner is kept."""
    return [
        Polygon(_inset(polygon.outer, is_hole=False), tuple(_inset(hole, is_hole=True) for hole in polygon.holes))
        for polygon in polygons_from_mask(mask)
    ]


def outline_area(outline: Outline) -> float:
    """Return the area within an outline in square pixels; positive if it runs clockwise, with y pointing down."""
    x, y = outline[:, 0].astype(np.float64), outline[:, 1].astype(np.float64)
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def simplified(outline: Outline, tolerance: float) -> Outline:
    """Return an outline simplified within `tolerance` pixels; the outline itself if too few corners would remain."""
    if tolerance == 0:
        return outline
    simple = cv2.approxPolyDP(outline[:, None], tolerance, closed=True)[:, 0].astype(np.float32)
    return simple if len(simple) > 2 else outline


def _inset(outline: Outline, is_hole: bool) -> Outline:
    along = np.sign(np.roll(outline, -1, axis=0) - outline)  # of the edge that begins at each corner; right angles
    inward = np.stack([-along[:, 1], along[:, 0]], axis=1) * (1 if (outline_area(outline) > 0) != is_hole else -1)
    moved: Outline = outline + np.float32(INSET) * (inward + np.roll(inward, 1, axis=0))
    return moved
