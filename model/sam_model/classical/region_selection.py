"""Selection of superpixels by prompts: the hypothesis with the largest expected IoU over all hypotheses.

A box gives the first selection, and every point corrects the selection before it. All points of a prompt are applied in
their order in each call, so the segmenter is stateless.
"""

from dataclasses import dataclass

import numpy as np

from sam_model.classical.colour_words import Floats
from sam_model.classical.hypotheses import (
    AREAS,
    CHANGES,
    SEED_REACH,
    Sets,
    grown_from_click,
    grown_in_box,
    share_in_box,
)
from sam_model.classical.plausibility import box_plausibility, click_plausibility
from sam_model.classical.region_graph import RegionGraph
from sam_model.types import Box, Point

NEGLIGIBLE = 7.0  # hypotheses this far below the best log plausibility are ignored
PROMPT_WEIGHT = 4.0  # weight of a prompted region, relative to similarity to the background


@dataclass(frozen=True)
class RegionSelection:
    """A set of superpixels (n,), and its expected IoU over all hypotheses."""

    members: Sets
    expected_iou: float


def select_regions(graph: RegionGraph, points: tuple[Point, ...], box: Box | None) -> RegionSelection:
    """Return the best set for points and a box in working pixels; empty if no prompt tells where the object is."""
    n = graph.count
    selection = RegionSelection(np.zeros(n, bool), 0.0)
    allowed: Sets = np.ones(n, bool)
    if box is not None:
        inside = share_in_box(graph, box)
        sets = _distinct(grown_in_box(graph, box, inside))
        selection = _best(graph, sets, box_plausibility(graph, sets, box, inside))
        if keeps_to_box(points, box):
            allowed = inside >= min(0.35, float(inside.max()))
    first = next((k for k, point in enumerate(points) if point.is_positive or box is not None), len(points))
    in_order = points[first : first + 1] + points[:first] + points[first + 1 :]
    if first < len(points):
        for k in range(1, len(in_order) + 1):
            selection = _corrected(graph, selection, in_order[:k], allowed)
    return selection


def _corrected(
    graph: RegionGraph, before: RegionSelection, points: tuple[Point, ...], allowed: Sets
) -> RegionSelection:
    """Return the selection after the last one of `points`."""
    click = points[-1]
    xy = np.array([click.x, click.y], np.float32)
    positive = [graph.region_at((point.x, point.y)) for point in points if point.is_positive]
    negative = [graph.region_at((point.x, point.y)) for point in points if not point.is_positive]
    like_object, like_background = _near(graph, positive), _near(graph, negative)
    not_object = graph.background + PROMPT_WEIGHT * like_background
    if click.is_positive:
        grown = grown_from_click(graph, xy, like_object, not_object, CHANGES if before.members.any() else AREAS)
        sets = np.concatenate([before.members | grown, grown]) if before.members.any() else grown
    else:
        not_removed = 0.5 * graph.background + PROMPT_WEIGHT * like_object + 0.3 * before.members
        grown = grown_from_click(graph, xy, like_background, not_removed.astype(np.float32), CHANGES)
        sets = before.members & ~grown
        last = next((point for point in reversed(points) if point.is_positive), None)
        if last is not None:
            anew = grown_from_click(graph, np.array([last.x, last.y], np.float32), like_object, not_object, CHANGES)
            sets = np.concatenate([sets, anew])
    sets &= allowed
    sets[:, negative] = False
    sets[:, positive] = True
    sets = _distinct(sets)
    if not len(sets):
        return RegionSelection(np.zeros(graph.count, bool), 0.0)
    return _best(graph, sets, click_plausibility(graph, sets, before.members, xy))


def _near(graph: RegionGraph, regions: list[int]) -> Floats:
    """Return the proximity (n,) of each region to the nearest of `regions`, 1 in these."""
    if not regions:
        return np.zeros(graph.count, np.float32)
    return np.asarray(np.exp(-graph.geodesic[regions].min(axis=0) / SEED_REACH))


def keeps_to_box(points: tuple[Point, ...], box: Box) -> bool:
    """Return whether the object ends at the box, because no positive point is outside it."""
    return all(box[0] <= p.x <= box[2] and box[1] <= p.y <= box[3] for p in points if p.is_positive)


def _distinct(sets: Sets) -> Sets:
    """Return the sets that are not empty, without duplicates."""
    number = np.sin(np.arange(1.0, sets.shape[1] + 1))  # equal sums of these numbers mean equal sets
    _, first = np.unique(np.einsum("mn,n->m", sets.astype(np.float64), number), return_index=True)
    sets = sets[first]
    return np.asarray(sets[sets.any(axis=1)])


def _best(graph: RegionGraph, sets: Sets, plausibility: Floats) -> RegionSelection:
    """Return the set (of M, n) with the largest overlap with all others, weighted by plausibility."""
    likely = plausibility > plausibility.max() - NEGLIGIBLE
    sets, weight = sets[likely], np.exp(plausibility[likely] - plausibility.max())
    weight /= weight.sum()
    members = sets.astype(np.float32)
    both = np.einsum("mn,kn->mk", members * graph.area, members)  # without BLAS, as in weighted_sum
    area = np.diag(both)
    expected = (both / (area[:, None] + area[None] - both)) @ weight
    best = int(expected.argmax())
    return RegionSelection(sets[best], float(expected[best]))
