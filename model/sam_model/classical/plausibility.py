"""Plausibility of a set of superpixels as the object of a prompt, by hand-set weights.

An object has edges along its outline, colours that differ from its surroundings, and a simple outline; it is rather
large and seldom extends beyond the image (Carreira & Sminchisescu, CPMC, TPAMI 2012; Endres & Hoiem, ECCV 2010).
People click in the middle of an object and draw tight boxes (Lempitsky et al., ICCV 2009). The weights are round
numbers. Those of a point were fitted on 60 objects of COCO, rounded, and then chosen among a few values each with 160
photographs in view; those of a box were set on twenty.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_model.classical.colour_words import Floats
from sam_model.classical.hypotheses import Sets, surroundings
from sam_model.classical.region_graph import RegionGraph
from sam_model.types import Box

MAX_STEP = 6.0  # between two regions; larger ones count as this
DEPTH_CELL = 4  # side in working pixels of the cells on which depths are measured

LEAVES_IMAGE = -5.0  # times the root of the share of the outline on the image's border

# Weights of the hypotheses of a point, and what they multiply.
CONTRAST = 4.0  # log of the edge strength on the outline over the image's mean
OUTLINE = -6.0  # log of its length over the root of the area
SIZE = 1.5  # log of the area
SURROUNDINGS = 2.0  # mean log ratio of its colours to those of the regions around it
BACKGROUND = -40.0  # mean similarity to the background
FILLED = -2.0  # log of the share of its bounding box that it fills
CENTRED = 6.0  # depth of the point in the area, over that area's radius
MIDDLE = 15.0  # log of the depth of the point over the depth of the deepest point

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
    cells = _in_cells(graph, sets)
    depth, deepest = _depths(cells, xy)
    radius = np.sqrt(area * graph.labels.size / np.pi)
    half = DEPTH_CELL / 2
    return np.asarray(
        CONTRAST * contrast
        + OUTLINE * length
        + LEAVES_IMAGE * on_rim
        + SIZE * np.log(area)
        + SURROUNDINGS * _unlike_surroundings(graph, sets, area)
        + BACKGROUND * weighted_sum(sets, graph.area * graph.background) / area
        + FILLED * _filled(graph, sets, area)
        + CENTRED * depth / radius
        + MIDDLE * np.log((depth + half) / (deepest + half))
    )


def box_plausibility(graph: RegionGraph, sets: Sets, box: Box, inside: Floats) -> Floats:
    """Return the log plausibility of each set (M, n) for a box (working pixels); `inside` (n,) is each region's share
    in it.
    """
    x0, y0, x1, y1 = box
    sides = np.maximum([x1 - x0, y1 - y0], 1.0)
    least, most = _bounds(graph, sets)
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
    return np.asarray(np.einsum("mn,n->m", rows.astype(np.float32, copy=False), weights.astype(np.float32, copy=False)))


def _unlike_surroundings(graph: RegionGraph, sets: Sets, area: Floats) -> Floats:
    """Return the mean log ratio (M,) of a set's colours to those of the regions at most two steps away from it."""
    near = graph.mixing @ (graph.mixing @ sets.T.astype(np.float32))  # (n, M)
    own = graph.words.histogram(sets * graph.area)
    around = graph.words.histogram(((near.T > 0) & ~sets) * graph.area + 1e-9)  # all colours, if nothing is around
    return np.asarray((own * graph.words.log_ratio(own, around)).sum(axis=1) / area)


def _filled(graph: RegionGraph, sets: Sets, area: Floats) -> Floats:
    """Return the log of the share (M,) of its bounding box that a set fills."""
    low, high = _bounds(graph, sets)
    return np.asarray(np.log(area * graph.labels.size / (high - low).prod(axis=1)))


def _bounds(graph: RegionGraph, sets: Sets) -> tuple[Floats, Floats]:
    """Return the corners (M, 2) of the bounding box of each set (M, n)."""
    x_min, y_min, x_max, y_max = graph.extent.T
    low = [np.where(sets, side, np.float32(np.inf)).min(axis=1) for side in (x_min, y_min)]
    high = [np.where(sets, side, np.float32(-np.inf)).max(axis=1) for side in (x_max, y_max)]
    return np.stack(low, axis=1), np.stack(high, axis=1)


def _in_cells(graph: RegionGraph, sets: Sets) -> NDArray[np.uint8]:
    """Return each set as an image (M, h, w) with a frame of zeros, one pixel for DEPTH_CELL working pixels."""
    middle = DEPTH_CELL // 2
    regions = np.pad(graph.labels[middle::DEPTH_CELL, middle::DEPTH_CELL], 1, constant_values=graph.count)
    members = np.pad(sets, ((0, 0), (0, 1)))  # the frame is a region that no set contains
    return np.take(members, regions, axis=1).view(np.uint8)


def _depths(cells: NDArray[np.uint8], xy: Floats) -> tuple[Floats, Floats]:
    """Return the depth (M,) of `xy`, and of the deepest point, in the sets of `_in_cells`, in working pixels."""
    sets, height, width = cells.shape
    depth = cv2.distanceTransform(cells.reshape(sets * height, width), cv2.DIST_L2, cv2.DIST_MASK_3)
    depth = depth.reshape(cells.shape)
    column, row = (int(value / DEPTH_CELL) for value in xy)
    row, column = min(row, height - 3), min(column, width - 3)
    at = depth[:, row : row + 3, column : column + 3].max(axis=(1, 2))
    return np.asarray(DEPTH_CELL * at), np.asarray(DEPTH_CELL * depth.reshape(sets, height * width).max(axis=1))
