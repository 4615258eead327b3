"""Outlines of masks for label files: without holes, and simplified as long as the mask can be restored from them."""

from collections.abc import Sequence
from itertools import chain

import cv2
import numpy as np

from sam_model.annotation.inset_polygons import inset_polygons, outline_area, simplified
from sam_model.annotation.joined_outline import join_outlines
from sam_model.masks.boxes import box_from_mask
from sam_model.masks.fill import fill_outlines
from sam_model.masks.overlap import iou_of_masks
from sam_model.masks.polygons import Outline
from sam_model.types import Mask

TOLERANCES = (1.0, 0.75, 0.5, 0.0)  # maximum deviation in pixels; the first one that is good enough is used
NUDGE = 0.01  # pixels, more than the rounding in a file
GOOD_ENOUGH = 0.99  # IoU of the mask with the mask that its outlines give, painted or filled


def outlines_from_mask(mask: Mask, join_parts: bool) -> list[Outline]:
    """Return closed outlines (N, 2) in pixels of a mask (H, W) with at least one pixel. Bridges lead to the holes.

    Args:
        mask: (H, W).
        join_parts: return one outline for all regions; otherwise one per region. A trainer paints a line one pixel wide
            along a bridge between regions, so a region with fewer pixels than its bridge is left out.
    """
    box = box_from_mask(mask)
    assert box is not None
    x_min, y_min, x_max, y_max = map(int, box)
    mask = mask[y_min:y_max, x_min:x_max]
    parts = [[polygon.outer, *polygon.holes] for polygon in inset_polygons(mask)]
    parts.sort(key=lambda part: -abs(outline_area(part[0])))
    worths = [[abs(outline_area(part[0])), *[np.inf] * (len(part) - 1)] for part in parts]
    if join_parts:
        parts, worths = [list(chain(*parts))], [list(chain(*worths))]
    tried: list[tuple[float, list[Outline]]] = []
    for tolerance in TOLERANCES:
        simple = [[simplified(outline, tolerance) for outline in part] for part in parts]
        outlines = [join_outlines(part, worth) for part, worth in zip(simple, worths, strict=True)]
        tried.append((_worst_iou(outlines, mask), outlines))
        if tried[-1][0] >= GOOD_ENOUGH:
            break
    best = tried[-1][0]  # if bridges alone cost too much, at most 1 % more is lost
    least = GOOD_ENOUGH if best >= GOOD_ENOUGH else best + GOOD_ENOUGH - 1
    outlines = next(outlines for iou, outlines in tried if iou >= least)
    return [outline + np.array([x_min, y_min], np.float32) for outline in outlines]


def paint_outlines(outlines: Sequence[Outline], size: tuple[int, ...]) -> Mask:
    """Return the mask (H, W) that a YOLO trainer makes of outlines: coordinates truncated, border pixels painted."""
    painted = np.zeros(size, np.uint8)
    for outline in outlines:
        cv2.fillPoly(painted, [outline.astype(np.int32)], 1)
    return painted.astype(bool)


def _worst_iou(outlines: Sequence[Outline], mask: Mask) -> float:
    """Return the lowest IoU of the mask with the masks that programs make of the outlines, whichever side of an edge
    they assign a centre to that is exactly on it.
    """
    nudge = np.array([NUDGE, 0], np.float32)
    made = [fill_outlines([outline + by for outline in outlines], mask.shape) for by in (nudge, -nudge)]
    return min(iou_of_masks(one, mask) for one in (paint_outlines(outlines, mask.shape), *made))
