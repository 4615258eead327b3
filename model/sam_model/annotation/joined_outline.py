"""Joining of several closed outlines to one.

YOLO's labels have one polygon per object, without holes, and COCO's polygons have no holes. Bridges lead from each
outline to the next and back the same way, so they enclose no area. Only a program that also paints a polygon's border,
such as OpenCV's `fillPoly`, draws a line one pixel wide where a bridge crosses the background.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree
from scipy.spatial import Delaunay

from sam_model.masks.polygons import Outline

BRIDGE_STEP = 4.0  # distance in pixels of the points on an outline where a bridge may end


@dataclass(frozen=True, eq=False)
class _Ring:
    """An outline with additional points. `places` (N, 2) are all points; `is_corner` (N,) marks the outline's own."""

    places: Outline
    is_corner: NDArray[np.bool_]
    detours: dict[int, list[Outline]] = field(default_factory=dict)  # by the index where they begin and end

    def traced(self, start: int) -> Outline:
        """Return all corners from a point around the ring to that point again, with the detours: (M, 2)."""
        parts = []
        for place in [*range(start, len(self.places)), *range(start)]:
            here = self.places[place : place + 1]
            if self.is_corner[place] or place == start or place in self.detours:
                parts.append(here)
            for detour in self.detours.get(place, ()):
                parts += [detour, here]
        return np.concatenate([*parts, self.places[start : start + 1]])


def join_outlines(outlines: Sequence[Outline], worth: Sequence[float] | None = None) -> Outline:
    """Return one closed outline (N, 2) through all `outlines`, along the shortest bridges.

    Args:
        outlines: closed outlines (N, 2) of three or more corners, the first one not repeated; no two touch.
        worth: maximum length in pixels of each outline's bridge, including all outlines beyond it; an outline with a
            longer bridge is left out. An infinite one is always kept, as are all if None. The first outline is always
            kept.
    """
    if len(outlines) == 1:
        return outlines[0]
    rings = [_ring(outline) for outline in outlines]
    bridges, order = _bridges(rings)
    worths = list(worth) if worth is not None else [np.inf] * len(rings)
    for index in reversed(order[1:]):
        bridge = bridges[index]
        if bridge.length > worths[index]:
            continue
        rings[bridge.parent].detours.setdefault(bridge.start, []).append(rings[index].traced(bridge.end))
        if np.isfinite(worths[index]):
            worths[bridge.parent] += worths[index]
    return rings[0].traced(0)[:-1]


def _ring(outline: Outline) -> _Ring:
    following = np.roll(outline, -1, axis=0)
    counts = np.maximum(1, np.ceil(np.linalg.norm(following - outline, axis=1) / BRIDGE_STEP)).astype(int)
    corner = np.repeat(np.arange(len(outline)), counts)
    step = np.arange(len(corner)) - np.repeat(np.cumsum(counts) - counts, counts)
    part = (step / counts[corner]).astype(np.float32)[:, None]
    return _Ring(outline[corner] * (1 - part) + following[corner] * part, step == 0)


@dataclass(frozen=True)
class _Bridge:
    """A bridge from the point `start` of the ring `parent` to the point `end` of another ring."""

    parent: int
    start: int
    end: int
    length: float  # pixels


def _bridges(rings: Sequence[_Ring]) -> tuple[dict[int, _Bridge], list[int]]:
    """Return the bridge to each ring but the first, and the rings in an order in which parents come first.

    The shortest bridges that connect everything are edges of the Delaunay triangulation of all points.
    """
    places = np.concatenate([ring.places for ring in rings]).astype(np.float64)
    first = np.cumsum([0] + [len(ring.places) for ring in rings])
    ring_of = np.repeat(np.arange(len(rings)), np.diff(first))
    triangles = Delaunay(places).simplices
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    edges = edges[ring_of[edges[:, 0]] != ring_of[edges[:, 1]]]
    edges = np.where((ring_of[edges[:, 0]] > ring_of[edges[:, 1]])[:, None], edges[:, ::-1], edges)
    lengths = np.linalg.norm(places[edges[:, 0]] - places[edges[:, 1]], axis=1)
    shortest = np.argsort(lengths, kind="stable")
    edges, lengths = edges[shortest], lengths[shortest]
    pairs, index = np.unique(ring_of[edges], axis=0, return_index=True)
    graph = csr_array((lengths[index], (pairs[:, 0], pairs[:, 1])), shape=(len(rings), len(rings)))
    order, parents = breadth_first_order(minimum_spanning_tree(graph), 0, directed=False)
    edge_of = {(int(one), int(other)): int(edge) for (one, other), edge in zip(pairs, index, strict=True)}
    bridges = {}
    for ring in order[1:].tolist():
        parent = int(parents[ring])
        edge = edge_of[min(ring, parent), max(ring, parent)]
        ends = {int(ring_of[place]): int(place - first[ring_of[place]]) for place in edges[edge]}
        bridges[ring] = _Bridge(parent, ends[parent], ends[ring], float(lengths[edge]))
    return bridges, order.tolist()
