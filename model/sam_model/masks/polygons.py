"""The outline of a mask as polygons with holes, along the pixels' edges and therefore exact.

A mask's outline is rectilinear: in every row of the pixel lattice the corners pair up to horizontal edges, in every
column to vertical ones, and following the two in turn walks around the outlines.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_model.types import Mask

Outline = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Polygon:
    """One connected part of a mask: the `outer` outline (N, 2), x before y in pixels, and those of its `holes`."""

    outer: Outline
    holes: tuple[Outline, ...] = ()


def polygons_from_mask(mask: Mask, tolerance: float = 0.0) -> list[Polygon]:
    """The outlines of the mask's parts (H, W), from top to bottom; pixels that touch by a corner only are two parts.

    Filling the polygons, a pixel being inside when its centre is, gives the mask again where `tolerance` is 0.

    Args:
        mask: (H, W).
        tolerance: pixels by which a simplified outline may stray; 0 keeps every corner.
    """
    outlines = _outlines(mask)
    _, parts = cv2.connectedComponents(mask.view(np.uint8), connectivity=4)
    outers: dict[int, Outline] = {}
    holes: dict[int, list[Outline]] = {}
    for outline in outlines:  # each starts at its topmost, then leftmost corner
        x, y = outline[0]
        if mask[y, x]:
            outers[int(parts[y, x])] = _simplified(outline, tolerance)
        else:
            holes.setdefault(int(parts[y - 1, x]), []).append(_simplified(outline, tolerance))
    return [Polygon(outer, tuple(holes.get(part, ()))) for part, outer in outers.items()]


def _outlines(mask: Mask) -> list[NDArray[np.intp]]:
    """Closed outlines, each (N, 2) lattice corners, x before y, first corner not repeated."""
    padded = np.pad(mask, 1)
    quads = padded[:-1, :-1].astype(np.int8), padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    count = quads[0] + quads[1] + quads[2] + quads[3]
    is_saddle = (count == 2) & (quads[0] == quads[3])  # two pixels that touch by a corner: two corners there
    rows, columns = np.nonzero((count % 2 == 1) | is_saddle)
    copies = np.where(is_saddle[rows, columns], 2, 1)
    # the part at upper left turns from its left to its upper edge; at upper right, from its right to its upper edge
    is_first = np.repeat(padded[rows, columns], copies)
    x, y = np.repeat(columns, copies), np.repeat(rows, copies)
    copy = np.arange(len(x)) - np.repeat(np.cumsum(copies) - copies, copies)

    along_row = np.arange(len(x))  # sorted already: by row, column, copy
    along_column = np.lexsort((np.where(is_first, copy, -copy), y, x))
    row_partner, column_partner = _partners(along_row), _partners(along_column)

    outlines = []
    is_visited = [False] * len(x)
    for start in range(len(x)):
        if is_visited[start]:
            continue
        walk, corner = [], start
        while not is_visited[corner]:
            neighbour = row_partner[corner]
            is_visited[corner] = is_visited[neighbour] = True
            walk += [corner, neighbour]
            corner = column_partner[neighbour]
        outlines.append(np.stack([x[walk], y[walk]], axis=1))
    return outlines


def _partners(order: NDArray[np.intp]) -> list[int]:
    """For each corner the other end of its edge: neighbours in `order` pair up, first with second and so on."""
    partners = np.empty(len(order), dtype=np.intp)
    partners[order[0::2]], partners[order[1::2]] = order[1::2], order[0::2]
    result: list[int] = partners.tolist()
    return result


def _simplified(outline: NDArray[np.intp], tolerance: float) -> Outline:
    corners = outline.astype(np.float32)
    if tolerance > 0:
        corners = cv2.approxPolyDP(corners[:, None], tolerance, closed=True)[:, 0].astype(np.float32)
    return corners
