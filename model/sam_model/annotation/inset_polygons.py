"""Outlines that lie just inside a mask's outermost pixels, so that different readers fill them alike.

Some programs cut coordinates off to whole pixels and paint the pixels on the border, too (OpenCV's `fillPoly`, in
YOLO's trainers): these get the outermost pixels themselves. Some take coordinates as they are (COCO's tools, to a
fifth of a pixel): to these the outline is the pixels' edge. And outlines that met at a corner no longer touch.
"""

import cv2
import numpy as np

from sam_model.masks.polygons import Outline, Polygon, polygons_from_mask
from sam_model.types import Mask

INSET = 0.05  # pixels


def inset_polygons(mask: Mask) -> list[Polygon]:
    """The parts of a mask (H, W), their outlines moved into the mask by `INSET`, every corner kept."""
    return [
        Polygon(_inset(polygon.outer, is_hole=False), tuple(_inset(hole, is_hole=True) for hole in polygon.holes))
        for polygon in polygons_from_mask(mask)
    ]


def outline_area(outline: Outline) -> float:
    """The area (square pixels) within an outline; above 0 where it runs clockwise, y pointing down."""
    x, y = outline[:, 0].astype(np.float64), outline[:, 1].astype(np.float64)
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def simplified(outline: Outline, tolerance: float) -> Outline:
    """The outline without corners that it strays by at most `tolerance` pixels without; itself if too few are left."""
    if tolerance == 0:
        return outline
    simple = cv2.approxPolyDP(outline[:, None], tolerance, closed=True)[:, 0].astype(np.float32)
    return simple if len(simple) > 2 else outline


def _inset(outline: Outline, is_hole: bool) -> Outline:
    along = np.sign(np.roll(outline, -1, axis=0) - outline)  # of the edge that begins at each corner; right angles
    inward = np.stack([-along[:, 1], along[:, 0]], axis=1) * (1 if (outline_area(outline) > 0) != is_hole else -1)
    moved: Outline = outline + np.float32(INSET) * (inward + np.roll(inward, 1, axis=0))
    return moved
