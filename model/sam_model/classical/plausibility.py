"""Plausibility of a set of superpixels as the object of a prompt, by hand-set weights.

An object has edges along its outline, colours that differ from its surroundings, and a simple outline; it is rather
large and seldom extends beyond the image (Carreira & Sminchisescu, CPMC, TPAMI 2012; Endres & Hoiem, ECCV 2010). People
click in the middle of an object and draw tight boxes (Lempitsky et al., ICCV 2009). The weights are round numbers, set
on twenty photographs.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_model.classical.colour_words import Floats
from sam_model.classical.hypotheses import Sets, surroundings
from sam_model.classical.region_graph import RegionGraph
from sam_model.types import Box

MAX_STEP = 6.0  # between two regions; larger ones count as this

LEAVES_IMAGE = -5.0  # times the root of the share of the outline on the image's border

# Weights of the hypotheses of a point, and what they multiply.
CONTRAST = 4.0  # log of the edge strength on the outline over the image's mean
OUTLINE = -2.5  # log of its length over the root of the area
SIZE = 0.5  # log of the area
OWN_COLOUR = 1.0  # log ratio of its colours inside to outside
CENTRED = 7.0  # depth of the point in the area, over that area's radius

# Weights of the hypotheses of a box, and what they multiply.
BOX_CONTRAST = 10.0
BOX_OUTLINE = -5.0
BOX_GAP = -10.0  # gap between the set and the box's sides, in sides
BOX_BEYOND = -50.0  # share of the set outside the box
BOX_UNEXPLAINED = -0.8  # mean log ratio of the colours that are left in the box but not around it


def click_plausibility(graph: RegionGraph, sets: Sets, xy: Floats) -> Floats:
    """Return the log plausibility of each set (M, n) as the object of a point at `xy`."""
    contrast, length, on_rim = _outline(graph, sets)
    area = weighted_sum(sets, graph.area)
    return np.asarray(
        CONTRAST * contrast
        + OUTLINE * length
        + LEAVES_IMAGE * on_rim
        + SIZE * np.log(area)
        + OWN_COLOUR * _own_colour(graph, sets, area)
        + CENTRED * _depth(graph, sets, xy)
    )


def box_plausibility(graph: RegionGraph, sets: Sets, box: Box, inside: Floats) -> Floats:
    """Return the log plausibility of each set (M, n) for a box (working pixels); `inside` (n,) is each region's share
    in it.
    """
    x0, y0, x1, y1 = box
    sides = np.maximum([x1 - x0, y1 - y0], 1.0)
    least = np.where(sets[..., None], graph.extent[None, :, :2], np.inf).min(axis=1)
    most = np.where(sets[..., None], graph.extent[None, :, 2:], -np.inf).max(axis=1)
    gap = (np.maximum(least - [x0, y0], 0) / sides + np.maximum([x1, y1] - most, 0) / sides).sum(axis=1)
    area = weighted_sum(sets, graph.area)
    beyond = weighted_sum(sets, graph.area * (1 - inside)) / area
    ring = (surroundings(graph, box, inside) + 1e-4) * graph.area
    ratio = graph.words.log_ratio(graph.words.histogram(sets * graph.area), graph.words.histogram(ring[None]))
    left = graph.words.histogram(~sets * (graph.area * inside))
    unexplained = (left * ratio).sum(axis=1) / (left.sum(axis=1) + 0.02 * area)
    contrast, length, on_rim = _outline(graph, sets)
    return np.asarray(
        BOX_CONTRAST * contrast
        + BOX_OUTLINE * length
        + LEAVES_IMAGE * on_rim
        + BOX_GAP * np.minimum(gap, 1)
        + BOX_BEYOND * beyond
        + BOX_UNEXPLAINED * unexplained
    )


def _outline(graph: RegionGraph, sets: Sets) -> tuple[Floats, Floats, Floats]:
    """Return for each set (M, n) its outline's contrast, length and share on the image's border."""
    h, w = graph.labels.shape
    step = np.minimum(graph.step, MAX_STEP)
    usual = (graph.shared * step).sum() / (graph.shared.sum() + 1e-6)
    i, j = graph.pairs.T
    cut = (sets[:, i] != sets[:, j]).astype(np.float32)
    length, steps = weighted_sum(cut, graph.shared), weighted_sum(cut, graph.shared * step)
    contrast = np.log((steps / (length + 1e-6) + 0.1) / (usual + 0.1))
    rim = weighted_sum(sets, graph.rim)
    perimeter = length + rim
    return contrast, np.log(perimeter / np.sqrt(weighted_sum(sets, graph.area) * h * w)), np.sqrt(rim / perimeter)


def weighted_sum(rows: NDArray[Any], weights: Floats) -> Floats:
    """Return `rows` (M, n) times `weights` (n,). Not by BLAS, which starts all cores for such small products."""
    return np.asarray(np.einsum("mn,n->m", rows.astype(np.float32), weights.astype(np.float32)))


def _own_colour(graph: RegionGraph, sets: Sets, area: Floats) -> Floats:
    """Return the mean log ratio (M,) of a set's colours inside it to outside."""
    own = graph.words.histogram(sets * graph.area)
    ratio = graph.words.log_ratio(own, graph.words.histogram(graph.area[None]) - own)
    return np.asarray((own * ratio).sum(axis=1) / area)


def _depth(graph: RegionGraph, sets: Sets, xy: Floats) -> Floats:
    """Return the distance (M,) from `xy` to the outside of each set, in radii of a disc of its area: 1 in a disc's
    centre.
    """
    h, w = graph.labels.shape
    straight = np.linalg.norm(graph.centre - xy, axis=1)
    half_a_region = 0.5 * np.sqrt(h * w / graph.count)
    to_outside = np.where(sets, np.inf, straight).min(axis=1) - half_a_region
    to_rim = min(xy[0], xy[1], w - xy[0], h - xy[1])
    radius = np.sqrt(weighted_sum(sets, graph.area) * h * w / np.pi)
    return np.asarray(np.clip(np.minimum(to_outside, to_rim), 0, None) / radius)
