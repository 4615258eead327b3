"""Hypotheses: sets of superpixels that may be the object, grown around a point or in a box.

A set is a row of a boolean matrix (M, n). Each family of hypotheses sorts the regions by one kind of evidence and takes
the first ones up to a series of areas. What is not connected to the point's region is removed.

Sources: geodesic growth, Bai & Sapiro, ICCV 2007; many nested figure-ground proposals from one seed, Carreira &
Sminchisescu, CPMC, TPAMI 2012; iterative colour models, GrabCut, Rother et al., SIGGRAPH 2004.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from sam_model.classical.colour_words import Floats
from sam_model.classical.region_graph import Reach, RegionGraph
from sam_model.types import Box

Sets = NDArray[np.bool_]

AREAS = np.geomspace(0.003, 0.75, 18)  # of the sets, as shares of the image
FILLS = np.linspace(0.25, 1.0, 13)  # shares of the box
REACHES = np.array([0.08, 0.15, 0.3], np.float32)  # of a point's influence, as shares of the image's diagonal
BOX_FOCUS = np.array([0.5, 1.0, 2.0], np.float32)  # how much more likely the middle of a box is object than its corners
DETOURS = (5, 15, 40)  # path length that one diagonal of straight distance is worth
SEED_REACH = 1.5  # path length at which the influence of a prompted region has fallen to 1/e
COLOUR_ROUNDS = 3
TRUST = 1.2  # weight of a colour's log ratio in a logit


def grown_from_click(graph: RegionGraph, xy: Floats, reach: Reach, from_rim: Reach) -> Sets:
    """Return sets of about `AREAS` (shares of the image) around a point at `xy` (working pixels).

    `reach` is the distances from the point's region, `from_rim` those from the border of the image.
    """
    region = graph.region_at(xy)
    straight = np.linalg.norm(graph.centre - xy, axis=1) / graph.diagonal
    path = reach.path
    near = np.exp(-(straight[:, None] ** 2) / (2 * REACHES**2))  # (n, R): a column per reach
    inside = np.exp(-path / SEED_REACH)
    belongs = np.repeat(inside[:, None], REACHES.size, axis=1)
    beside = graph.background[:, None] + 0.5 * (1 - near)
    ratio = np.zeros_like(near)
    for _ in range(COLOUR_ROUNDS):
        ratio = colour_log_ratio(graph, belongs, beside)
        belongs = np.maximum(near / (1 + np.exp(-TRUST * ratio)), inside[:, None])
        belongs[region] = 1
    by_colour = 0.2 * path[:, None] - ratio - np.log(near + 1e-6)
    loose = [path + detour * straight for detour in DETOURS] + [path - 0.5 * from_rim.path, *by_colour.T]
    tied = [reach.climb + 1e-3 * path, path, straight]
    sets = np.concatenate([_first_ones(order, graph.area, AREAS) for order in loose])
    sets[:, region] = True
    return np.concatenate([_connected_to(graph, sets, region), *(_first_ones(o, graph.area, AREAS) for o in tied)])


def grown_in_box(graph: RegionGraph, box: Box, inside: Floats) -> Sets:
    """Return sets in a box (working pixels); `inside` (n,) is each region's share in the box."""
    outwards = steps_outwards(graph, box)
    from_middle = np.linalg.norm(outwards, axis=1)
    ring = surroundings(graph, box, inside) + 0.02
    away = inside < 0.2
    outside = graph.reach(np.flatnonzero(away if away.any() else graph.rim > 0))
    path, climb = outside.path, outside.climb
    near = np.exp(-(from_middle[:, None] ** 2) * BOX_FOCUS)
    belongs = inside[:, None] * near
    beside = np.repeat(ring[:, None], BOX_FOCUS.size, axis=1)
    ratio = np.zeros_like(near)
    for _ in range(COLOUR_ROUNDS + 1):
        ratio = colour_log_ratio(graph, belongs, beside)
        belongs = inside[:, None] * near / (1 + np.exp(-TRUST * ratio))
        beside = ring[:, None] + 0.3 * inside[:, None] * (1 - near) / (1 + np.exp(TRUST * ratio))
    orders = [from_middle, -path, -climb - 0.01 * path, *(-ratio).T, *(-ratio - np.log(near + 1e-6)).T]
    orders += list((-ratio + 0.8 * from_middle[:, None] - 0.25 * np.minimum(path, 10)[:, None]).T)
    in_box = inside >= min(0.35, float(inside.max()))
    areas = FILLS * float((graph.area * inside).sum())
    sets = [_first_ones(np.where(in_box, order, np.inf), graph.area * in_box, areas) & in_box for order in orders]
    return np.concatenate([*sets, in_box[None]])


def steps_outwards(graph: RegionGraph, box: Box) -> Floats:
    """Return the position of each region's centre in the box: (n, 2), 0 in the middle, -1 and 1 on the sides."""
    x0, y0, x1, y1 = box
    half = np.maximum([(x1 - x0) / 2, (y1 - y0) / 2], 0.5)
    outwards = (graph.centre - np.array([(x0 + x1) / 2, (y0 + y1) / 2])) / half
    return np.asarray(outwards, np.float32)


def surroundings(graph: RegionGraph, box: Box, inside: Floats) -> Floats:
    """Return the weight of each region (n,) as surroundings of the box; it decreases within half a box."""
    beyond = np.clip(np.abs(steps_outwards(graph, box)).max(axis=1) - 1, 0, 3)
    return np.where(inside < 0.5, np.exp(-2 * beyond**2), 0).astype(np.float32)


def colour_log_ratio(graph: RegionGraph, belongs: Floats, beside: Floats) -> Floats:
    """Return the log ratio of each region's colour in `belongs` to that in `beside`; all are (n, R)."""
    one = graph.words.histogram(belongs.T * graph.area)
    other = graph.words.histogram(beside.T * graph.area)
    return graph.words.log_ratio(one, other)[:, graph.words.word].T


def _first_ones(order: Floats, area: Floats, areas: Floats) -> Sets:
    """Return the regions that come first in `order` (n,), as many as fill each of `areas`."""
    by_order = np.argsort(order, kind="stable")
    rank = np.empty(order.size, np.int64)
    rank[by_order] = np.arange(order.size)
    last = np.searchsorted(np.cumsum(area[by_order]), areas)
    return np.asarray(rank[None] <= last[:, None])


def _connected_to(graph: RegionGraph, sets: Sets, region: int) -> Sets:
    """Return of each set the part that is connected to `region`, with one graph search for all sets."""
    m, n = sets.shape
    i, j = graph.pairs.T
    row, pair = np.divmod(np.flatnonzero(sets[:, i] & sets[:, j]), i.size)
    start, end = row * n + i[pair], row * n + j[pair]
    until = np.concatenate([[0], np.cumsum(np.bincount(start, minlength=m * n))])  # the pairs are sorted
    _, part = connected_components(csr_matrix((np.ones(row.size), end, until), (m * n, m * n)), directed=False)
    part = part.reshape(m, n)
    return np.asarray(sets & (part == part[:, [region]]))
