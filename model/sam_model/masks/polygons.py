"""Polygons with holes of a mask, exact to the pixel edge.

A mask's outline is rectilinear. In every row of the pixel lattice its corners pair up to horizontal edges, in every
column to vertical ones. Following the two in turn traces the outlines.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_model.types import Mask

Outline = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Polygon:
    """One 4-connected region of a mask: its `outer` outline (N, 2), x before y in pixels, and the outlines of its
    `holes`.
    """

    outer: Outline
    holes: tuple[Outline, ...] = ()


def polygons_from_mask(mask: Mask, tolerance: float = 0.0) -> list[Polygon]:
    """Return the polygons of a mask's regions, from top to bottom. Pixels that touch by a corner only are two regions.

    With `tolerance` 0, filling the polygons gives the mask again; a pixel is inside if its centre is.

    Args:
        mask: (H, W).
        tolerance: maximum deviation of a simplified outline, in pixels; 0 keeps every corner.
    """
    outlines = _outlines(mask)
    _, regions = cv2.connectedComponents(mask.view(np.uint8), connectivity=4)
    outers: dict[int, Outline] = {}
    holes: dict[int, list[Outline]] = {}
    for outline in outlines:  # an outline starts at its topmost, then leftmost corner
        x, y = outline[0]
        if mask[y, x]:
            outers[int(regions[y, x])] = _simplified(outline, tolerance)
        else:
            holes.setdefault(int(regions[y - 1, x]), []).append(_simplified(outline, tolerance))
    return [Polygon(outer, tuple(holes.get(region, ()))) for region, outer in outers.items()]


def _outlines(mask: Mask) -> list[NDArray[np.intp]]:
    """Return closed outlines, each (N, 2) lattice corners, x before y. The first corner is not repeated at the end."""
    padded = np.pad(mask, 1)
    quads = padded[:-1, :-1].astype(np.int8), padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    count = quads[0] + quads[1] + quads[2] + quads[3]
    is_saddle = (count == 2) & (quads[0] == quads[3])  # pixels that touch by a corner: two corners at this place
    rows, columns = np.nonzero((count % 2 == 1) | is_saddle)
    copies = np.where(is_saddle[rows, columns], 2, 1)
    # the region at upper left turns from its left to its upper edge; at upper right, from its right to its upper edge
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
        corners, corner = [], start
        while not is_visited[corner]:
            neighbour = row_partner[corner]
            is_visited[corner] = is_visited[neighbour] = True
            corners += [corner, neighbour]
            corner = column_partner[neighbour]
        outlines.append(np.stack([x[corners], y[corners]], axis=1))
    return outlines


def _partners(order: NDArray[np.intp]) -> list[int]:
    """Return the other end of each corner's edge: neighbours in `order` pair up, first with second and so on."""
    partners = np.empty(len(order), dtype=np.intp)
    partners[order[0::2]], partners[order[1::2]] = order[1::2], order[0::2]
    result: list[int] = partners.tolist()
    return result


def _simplified(outline: NDArray[np.intp], tolerance: float) -> Outline:
    corners = outline.astype(np.float32)
    if tolerance > 0:
        corners = cv2.approxPolyDP(corners[:, None], tolerance, closed=True)[:, 0].astype(np.float32)
    return corners
