"""Simple polygons of a mask: few vertices, no holes, and no edge that touches another one.

Editors and file formats take a polygon as one list of vertices, and many programs refuse polygons that intersect
themselves. The outline of a region first gets its corners cut by half a pixel, so that it touches itself nowhere. Then
it is simplified (Douglas and Peucker, 1973). Where edges of the result touch, vertices are put back until none do
(Saalfeld, "Topologically consistent line simplification with the Douglas-Peucker algorithm", 1999).
"""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_model.masks.boxes import box_from_mask
from sam_model.masks.fill import fill_outlines
from sam_model.masks.overlap import iou_of_masks
from sam_model.masks.polygons import Outline, polygons_from_mask
from sam_model.types import Mask

Parts = Literal["largest", "separate", "bridges"]
MIN_PART_SHARE = 0.01  # of the largest part's area; smaller parts are left out, smaller holes are filled
MIN_IOU = 0.97  # of a polygon with its part of the mask; the tolerance is lowered until it is reached
MIN_TOLERANCE = 0.9  # pixels: the steps of a digital line deviate from a straight one by up to 0.7
SHARP = 3  # pixels: a corner between edges of this length is not a step of a digital line, and is kept

Vertices = NDArray[np.int64]  # (N, 2), x before y, in half pixels


def simple_polygons(mask: Mask, tolerance: float, parts: Parts = "separate") -> list[Outline]:
    """Return simple polygons (N, 2) of a mask (H, W), the largest first; none for an empty mask.

    Args:
        mask: (H, W).
        tolerance: maximum deviation in pixels, at least `MIN_TOLERANCE`; 0 leaves out no vertex. It is lowered for a
            polygon whose IoU with its part would be below `MIN_IOU`.
        parts: `largest` returns the largest part only, `separate` one polygon for each part, both with their holes
            filled. `bridges` returns one polygon: lines one pixel wide connect the parts, and cut from the outside into
            the holes.
    """
    box = box_from_mask(mask)
    if box is None:
        return []
    x_min, y_min, x_max, y_max = map(int, box)
    cut = mask[y_min:y_max, x_min:x_max]
    if parts == "bridges":
        cut = _without_holes(_with_parts_joined(cut))
    outlines = [polygon.outer.astype(np.int64) for polygon in polygons_from_mask(cut)]
    areas = [abs(_area(outline)) for outline in outlines]
    largest = max(areas)
    order = sorted(range(len(outlines)), key=lambda index: -areas[index])
    if parts != "separate":
        order = order[:1]
    kept = [outlines[index] for index in order if areas[index] >= MIN_PART_SHARE * largest]
    offset = np.array([x_min, y_min], np.float32)
    return [_simplified(outline, tolerance) + offset for outline in kept]


def _simplified(outline: Vertices, tolerance: float) -> Outline:
    """Return a simple polygon of an outline (N, 2) of lattice corners."""
    chain = _with_cut_corners(outline)
    if tolerance > 0:
        size = tuple(outline.max(axis=0)[::-1])
        region = fill_outlines([outline.astype(np.float32)], size)
        tolerance = max(tolerance, MIN_TOLERANCE)
        while tolerance > MIN_TOLERANCE / 4:
            polygon = _in_pixels(chain[_simple_vertices(chain, tolerance)])
            if iou_of_masks(fill_outlines([polygon], size), region) >= MIN_IOU:
                return polygon
            tolerance /= 2
    return _in_pixels(chain)


def _in_pixels(chain: Vertices) -> Outline:
    return chain.astype(np.float32) / np.float32(2)


def _with_cut_corners(outline: Vertices) -> Vertices:
    """Return an outline of lattice corners in half pixels, its corners cut by half a pixel.

    Sharp corners are kept, unless the outline passes the place twice.
    """
    to_next = np.roll(outline, -1, axis=0) - outline
    length = np.abs(to_next).sum(axis=1)
    ahead = np.sign(to_next)
    behind = np.roll(ahead, 1, axis=0)
    _, place, visits = np.unique(outline, axis=0, return_inverse=True, return_counts=True)
    is_kept = (np.minimum(length, np.roll(length, 1)) >= SHARP) & (visits[place.ravel()] == 1)
    cut = np.stack([2 * outline - behind, 2 * outline + ahead], axis=1)  # (N, 2, 2)
    cut[is_kept] = 2 * outline[is_kept][:, None]
    chain = cut.reshape(-1, 2)
    return chain[np.any(chain != np.roll(chain, 1, axis=0), axis=1)]


def _simple_vertices(chain: Vertices, tolerance: float) -> NDArray[np.int64]:
    """Return the indices of the vertices of a simple polygon within `tolerance` pixels of a simple one."""
    simple = cv2.approxPolyDP(chain.astype(np.int32)[:, None], 2 * tolerance, closed=True)[:, 0].astype(np.int64)
    code = chain[:, 1] * (int(chain[:, 0].max()) + 1) + chain[:, 0]
    by_code = np.argsort(code)
    wanted = simple[:, 1] * (int(chain[:, 0].max()) + 1) + simple[:, 0]
    kept = np.unique(by_code[np.searchsorted(code[by_code], wanted)])
    while True:
        ends = np.roll(kept, -1)
        ends[-1] += len(chain)  # the last edge leads to the first vertex
        touching = _touching_edges(chain[kept])
        found = [_farthest(chain, int(kept[edge]), int(ends[edge])) for edge in touching.tolist()]
        added = [index for index in found if index is not None]
        if not added:
            return kept
        kept = np.unique(np.append(kept, added))


def _farthest(chain: Vertices, start: int, end: int) -> int | None:
    """Return the vertex between two of a chain that is farthest from the line between them; None if there is none."""
    if end - start < 2:
        return None
    between = np.arange(start + 1, end) % len(chain)
    first, last = chain[start], chain[end % len(chain)]
    (x, y), (along_x, along_y) = (chain[between] - first).T, last - first
    distance = np.abs(along_x * y - along_y * x) if (along_x or along_y) else np.hypot(x, y)
    return int(between[int(np.argmax(distance))])


def _touching_edges(polygon: Vertices) -> NDArray[np.int64]:
    """Return the indices of the edges of a polygon (N, 2) that touch an edge they do not adjoin, or fold back."""
    count = len(polygon)
    following = np.roll(polygon, -1, axis=0)
    low, high = np.minimum(polygon, following), np.maximum(polygon, following)
    order = np.argsort(low[:, 0], kind="stable")
    # an edge is compared with those that begin, from left to right, before it ends
    until = np.searchsorted(low[order, 0], high[order, 0], side="right")
    counts = until - np.arange(count) - 1
    one = np.repeat(np.arange(count), counts)
    other = one + 1 + np.arange(len(one)) - np.repeat(np.cumsum(counts) - counts, counts)
    one, other = order[one], order[other]
    overlap = (low[one, 1] <= high[other, 1]) & (low[other, 1] <= high[one, 1])
    one, other = one[overlap], other[overlap]
    adjoin = (np.abs(one - other) == 1) | (np.abs(one - other) == count - 1)
    a, b, c, d = polygon[one], following[one], polygon[other], following[other]
    sides = (_turn(a, b, c) * _turn(a, b, d) <= 0) & (_turn(c, d, a) * _turn(c, d, b) <= 0)
    touching = np.concatenate([one[sides & ~adjoin], other[sides & ~adjoin]])
    ahead = following - polygon
    before = np.roll(ahead, 1, axis=0)
    is_straight = before[:, 0] * ahead[:, 1] == before[:, 1] * ahead[:, 0]
    folds = np.flatnonzero(is_straight & ((before * ahead).sum(axis=1) < 0))
    found: NDArray[np.int64] = np.unique(np.concatenate([touching, folds, (folds - 1) % count]))
    return found


def _turn(a: Vertices, b: Vertices, c: Vertices) -> NDArray[np.int64]:
    """Return 1 where a, b, c (N, 2) turn one way, -1 the other way, 0 where they are on one line."""
    first, second = b - a, c - a
    side: NDArray[np.int64] = np.sign(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])
    return side


def _with_parts_joined(mask: Mask) -> Mask:
    """Return a mask with one part: lines lead to the next part each; small parts are left out."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=4)
    areas = stats[:, cv2.CC_STAT_AREA]
    largest = 1 + int(np.argmax(areas[1:]))
    kept = [part for part in range(1, count) if areas[part] >= MIN_PART_SHARE * areas[largest]]
    return _joined(labels == largest, [labels == part for part in kept if part != largest])


def _without_holes(mask: Mask) -> Mask:
    """Return a mask with lines cut from the outside into its holes; small holes are filled."""
    free = np.pad(~mask, 1, constant_values=True)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(free.view(np.uint8), connectivity=8)
    smallest = MIN_PART_SHARE * np.count_nonzero(mask)
    outside = int(labels[0, 0])
    holes = [part for part in range(1, count) if part != outside and stats[part, cv2.CC_STAT_AREA] >= smallest]
    if not holes and count <= 2:
        return mask
    opened = ~_joined(labels == outside, [labels == part for part in holes])[1:-1, 1:-1]
    _, labels, stats, _ = cv2.connectedComponentsWithStats(opened.view(np.uint8), connectivity=4)
    largest: Mask = labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))  # a cut may split off single pixels
    return largest


def _joined(first: Mask, others: list[Mask]) -> Mask:
    """Return the union of masks (H, W) and of lines that connect each one with the nearest, beginning at the first."""
    joined = first.copy()
    while others:
        free = (~joined).view(np.uint8)
        distance, nearest = cv2.distanceTransformWithLabels(free, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
        ends = [int(np.where(other, distance, np.inf).argmin()) for other in others]
        index = min(range(len(others)), key=lambda number: distance.ravel()[ends[number]])
        end = ends[index]
        start = int(np.argmax(joined & (nearest == nearest.ravel()[end])))
        line = np.zeros(joined.shape, np.uint8)
        (y, x), (end_y, end_x) = divmod(start, joined.shape[1]), divmod(end, joined.shape[1])
        cv2.line(line, (x, y), (end_x, end_y), 1, 1, cv2.LINE_4)
        joined |= line.view(np.bool_) | others.pop(index)
    return joined


def _area(outline: NDArray[np.int64]) -> float:
    x, y = outline.T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)
