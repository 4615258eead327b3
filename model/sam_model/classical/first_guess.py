"""The first guess of the object, from the plausible hypotheses for a point or a box."""

import numpy as np

from sam_model.classical.colour_words import Floats
from sam_model.classical.evidence import share_in_box
from sam_model.classical.hypotheses import Sets, grown_from_click, grown_in_box
from sam_model.classical.plausibility import box_plausibility, click_plausibility
from sam_model.classical.region_graph import Reach, RegionGraph
from sam_model.types import Box, Point

NEGLIGIBLE = 7.0  # hypotheses this far below the best log plausibility are ignored


def guess_from_click(graph: RegionGraph, click: Point, reach: Reach, from_rim: Reach) -> Floats:
    """Return the probability (n,) that each region belongs to the object of a click (working pixels).

    `reach` is the distances from the click, `from_rim` those from the border of the image.
    """
    xy = np.array([click.x, click.y], np.float32)
    sets = _distinct(grown_from_click(graph, xy, reach, from_rim))
    return _guess(graph, sets, click_plausibility(graph, sets, xy))


def guess_in_box(graph: RegionGraph, box: Box) -> Floats:
    """Return the probability (n,) that each region belongs to the object of a box (working pixels)."""
    inside = share_in_box(graph, box)
    sets = _distinct(grown_in_box(graph, box, inside))
    return _guess(graph, sets, box_plausibility(graph, sets, box, inside))


def _distinct(sets: Sets) -> Sets:
    """Return the sets that are not empty, without duplicates."""
    number = np.sin(np.arange(1.0, sets.shape[1] + 1))  # equal sums of these numbers mean equal sets
    _, first = np.unique(np.einsum("mn,n->m", sets.astype(np.float64), number), return_index=True)
    sets = sets[first]
    return np.asarray(sets[sets.any(axis=1)])


def _guess(graph: RegionGraph, sets: Sets, plausibility: Floats) -> Floats:
    """Return the middle (n,) between two answers: the mean of the sets (M, n), weighted by plausibility, and the set
    with the largest expected IoU.
    """
    likely = plausibility > plausibility.max() - NEGLIGIBLE
    weight = np.exp(plausibility[likely] - plausibility.max())
    weight /= weight.sum()
    members = sets[likely].astype(np.float32)
    both = np.einsum("mn,kn->mk", members * graph.area, members)  # without BLAS, as in weighted_sum
    area = np.diag(both)
    expected = (both / (area[:, None] + area[None] - both)) @ weight
    mean = np.einsum("mn,m->n", members, weight.astype(np.float32))
    return np.asarray(0.5 * mean + 0.5 * members[int(expected.argmax())], np.float32)
