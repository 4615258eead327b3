"""How plausible a set of superpixels is as the object that a prompt means, by hand-set weights.

An object has an edge all around it, colours unlike its surroundings and a simple outline; it is rather large and
seldom leaves the image (all of this: Carreira & Sminchisescu, CPMC, TPAMI 2012; Endres & Hoiem, ECCV 2010). People
click in the middle of what they mean, draw boxes that just hold it (Lempitsky et al., ICCV 2009), and expect an
answer to change no more than a correction asks for. The weights are round numbers, set on twenty photographs.
"""

import numpy as np

from sam_model.classical.hypotheses import Sets, surroundings
from sam_model.classical.region_graph import Floats, RegionGraph
from sam_model.types import Box

STRONGEST_STEP = 6.0  # between two regions; a stronger one says no more

LEAVES_IMAGE = -5.0  # root of the share of the outline on the image's border

# Weights of a click's hypotheses.
CONTRAST = 4.0  # log of the edge on the outline over the image's usual one
OUTLINE = -2.5  # log of its length over the root of the area
SIZE = 0.5  # log of the area
OWN_COLOUR = 1.0  # log of how much more of its colours are inside than outside
CENTRED = 7.0  # depth of the click in what it changes, over that one's radius
STAYS = 4.0  # IoU with the answer before the click

# Weights of a box's hypotheses.
BOX_CONTRAST = 10.0
BOX_OUTLINE = -5.0
BOX_GAP = -10.0  # room left between the set and the sides, in sides
BOX_BEYOND = -50.0  # share of the set outside the box
BOX_UNEXPLAINED = -0.8  # colours left in the box that are not around it, as a mean log ratio


def click_plausibility(graph: RegionGraph, sets: Sets, before: Sets, xy: Floats) -> Floats:
    """Log plausibility of each set (M, n), after the answer `before` (n,) was corrected by a click at `xy`."""
    outline = _outline(graph, sets)
    area = sets @ graph.area
    changes = sets ^ before
    changes[:, graph.region_at(xy)] = True
    kept = ((sets & before) @ graph.area) / ((sets | before) @ graph.area)
    return np.asarray(
        CONTRAST * outline[0]
        + OUTLINE * outline[1]
        + LEAVES_IMAGE * outline[2]
        + SIZE * np.log(area)
        + OWN_COLOUR * _own_colour(graph, sets, area)
        + CENTRED * _depth(graph, changes, xy)
        + STAYS * kept
    )


def box_plausibility(graph: RegionGraph, sets: Sets, box: Box, inside: Floats) -> Floats:
    """Log plausibility of each set (M, n) for a box (working pixels); `inside` (n,) is each region's share in it."""
    x0, y0, x1, y1 = box
    sides = np.maximum([x1 - x0, y1 - y0], 1.0)
    least = np.where(sets[..., None], graph.extent[None, :, :2], np.inf).min(axis=1)
    most = np.where(sets[..., None], graph.extent[None, :, 2:], -np.inf).max(axis=1)
    gap = (np.maximum(least - [x0, y0], 0) / sides + np.maximum([x1, y1] - most, 0) / sides).sum(axis=1)
    area = sets @ graph.area
    beyond = sets @ (graph.area * (1 - inside)) / area
    ring = (surroundings(graph, box, inside) + 1e-4) * graph.area
    own = (sets * graph.area) @ graph.alike / area[:, None]
    ratio = np.log((own + 0.01) / (graph.alike @ ring / ring.sum() + 0.01))
    left = ~sets * (graph.area * inside)
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
    """Of each set (M, n): contrast on the outline, its length, how much of it lies on the image's border."""
    h, w = graph.labels.shape
    members = sets.astype(np.float32)
    step = np.minimum(graph.step, STRONGEST_STEP)
    i, j = graph.pairs.T
    cut = np.abs(members[:, i] - members[:, j]) @ np.stack([graph.shared, graph.shared * step], axis=1)
    usual = (graph.shared @ step) / (graph.shared.sum() + 1e-6)
    contrast = np.log((cut[:, 1] / (cut[:, 0] + 1e-6) + 0.1) / (usual + 0.1))
    rim = members @ graph.rim
    perimeter = cut[:, 0] + rim
    return contrast, np.log(perimeter / np.sqrt((members @ graph.area) * h * w)), np.sqrt(rim / perimeter)


def _own_colour(graph: RegionGraph, sets: Sets, area: Floats) -> Floats:
    """Mean log ratio (M,) of finding a set's colours inside it and outside."""
    weighted = sets * graph.area
    alike = weighted @ graph.alike
    outside = (graph.alike @ graph.area - alike) / (1 - area + 1e-6)[:, None]
    ratio = np.log((alike / area[:, None] + 0.01) / (np.maximum(outside, 0) + 0.01))
    return np.asarray((weighted * ratio).sum(axis=1) / area)


def _depth(graph: RegionGraph, sets: Sets, xy: Floats) -> Floats:
    """Distance (M,) from `xy` to the outside of each set, in radii of a disc of its area: 1 in a disc's middle."""
    h, w = graph.labels.shape
    straight = np.linalg.norm(graph.centre - xy, axis=1)
    half_a_region = 0.5 * np.sqrt(h * w / graph.count)
    to_outside = np.where(sets, np.inf, straight).min(axis=1) - half_a_region
    to_rim = min(xy[0], xy[1], w - xy[0], h - xy[1])
    radius = np.sqrt(sets @ graph.area * h * w / np.pi)
    return np.asarray(np.clip(np.minimum(to_outside, to_rim), 0, None) / radius)
