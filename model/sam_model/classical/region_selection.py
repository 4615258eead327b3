"""Selection of superpixels by prompts: the region network's probabilities, corrected by one click after the other.

The first guess is that of the plausible hypotheses. The network and a graph cut correct it, and the network again after
every further click. Where the region of a click is distinct, it gets the click's label without them. The clicks of a
prompt are applied in their order.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sam_model.classical.colour_words import Floats
from sam_model.classical.distinct_region import distinct_region
from sam_model.classical.evidence import (
    BoxEvidence,
    LastClick,
    Nearest,
    box_evidence,
    evidence,
    last_click,
    no_clicks,
    with_click,
)
from sam_model.classical.first_guess import guess_from_click, guess_in_box
from sam_model.classical.graph_cut import with_cut
from sam_model.classical.region_graph import RegionGraph
from sam_model.classical.region_network import logit
from sam_model.types import Box, Point

CLICK_GUESS = 0.5  # weight of the first guess after one click; more helps uniform objects and harms those of parts
FIRST_DEPTH = 0.5  # of the first click's distance to the image's border, as the depth of its influence on pixels
BOX_GUESS = 0.5  # weight of the first guess for a box
CERTAIN = 0.02  # probabilities nearer to 0 or 1 count as this
FILLED_BOX = 0.6  # least IoU of a box and the bounding box of a distinct region that is its answer
DISTINCT = 0.98  # probability of a distinct region around a positive click

Network = Callable[[RegionGraph, Floats], Floats]


@dataclass(frozen=True)
class Selection:
    """The probability of each superpixel after some prompts, and what the next click needs to know."""

    positive: Nearest
    negative: Nearest
    box: BoxEvidence
    clicks: tuple[LastClick, ...] = ()
    probability: Floats | None = None  # (n,); None if no prompt tells where the object is
    is_distinct: bool = False  # whether it is a distinct region, not corrected since
    before_cut: Floats | None = None  # (n,), the probability before the graph cut, not corrected since


def select_regions(graph: RegionGraph, points: tuple[Point, ...], box: Box | None, network: Network) -> Selection:
    """Return the selection for points and a box in working pixels."""
    selection = empty_selection(graph, box, box is None or keeps_to_box(points, box))
    if box is not None:
        selection = selection_in_box(graph, selection, box, network)
    first = next((k for k, point in enumerate(points) if point.is_positive or box is not None), len(points))
    for point in points[first : first + 1] + points[:first] + points[first + 1 :]:
        selection = corrected(graph, selection, point, network)
    return selection


def empty_selection(graph: RegionGraph, box: Box | None, is_limit: bool) -> Selection:
    """Return the selection before any click; `is_limit`: the object does not extend beyond the box."""
    return Selection(no_clicks(graph), no_clicks(graph), box_evidence(graph, box, is_limit))


def selection_in_box(graph: RegionGraph, empty: Selection, box: Box, network: Network) -> Selection:
    """Return the selection for a box without clicks."""
    middle = graph.region_at(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))
    distinct = distinct_region(graph, graph.reach([middle]))
    if distinct is not None and fills_box(graph, distinct, box):
        return replace(empty, probability=np.where(distinct, DISTINCT, 0).astype(np.float32), is_distinct=True)
    return _first(graph, empty, guess_in_box(graph, box), BOX_GUESS, None, network)


def fills_box(graph: RegionGraph, members: NDArray[np.bool_], box: Box) -> bool:
    """Return whether the bounding box of a set (n,) has a large IoU with a box."""
    x_min, y_min = graph.extent[members, :2].min(axis=0)
    x_max, y_max = graph.extent[members, 2:].max(axis=0)
    width, height = min(x_max, box[2]) - max(x_min, box[0]), min(y_max, box[3]) - max(y_min, box[1])
    inter = max(width, 0.0) * max(height, 0.0)
    union = (x_max - x_min) * (y_max - y_min) + (box[2] - box[0]) * (box[3] - box[1]) - inter
    return bool(inter >= FILLED_BOX * union)


def corrected(graph: RegionGraph, before: Selection, click: Point, network: Network) -> Selection:
    """Return the selection after one click more; without a positive click and a box, nothing is selected."""
    last, reach = last_click(graph, click, before.probability), graph.reach([graph.region_at((click.x, click.y))])
    after = replace(before, clicks=(*before.clicks, last), is_distinct=False, before_cut=None)
    if click.is_positive:
        after = replace(after, positive=with_click(graph, before.positive, click, reach))
    else:
        after = replace(after, negative=with_click(graph, before.negative, click, reach))
    if before.probability is None and not click.is_positive:
        return after
    opposite = after.negative if click.is_positive else after.positive
    distinct = distinct_region(graph, reach)
    if distinct is not None and not distinct[list(opposite.regions)].any():
        return _with_region(graph, after, distinct, click)
    if before.probability is not None:
        return _clamped(after, _corrected(graph, after, before.probability, last, network))
    guess = guess_from_click(graph, click, reach, after.box.reach)
    after = replace(after, clicks=(*before.clicks, replace(last, depth=FIRST_DEPTH * last.depth)))
    return _first(graph, after, guess, CLICK_GUESS, last, network)


def keeps_to_box(points: tuple[Point, ...], box: Box) -> bool:
    """Return whether the object ends at the box, because no positive point is outside it."""
    return all(box[0] <= p.x <= box[2] and box[1] <= p.y <= box[3] for p in points if p.is_positive)


def _with_region(graph: RegionGraph, selection: Selection, region: NDArray[np.bool_], click: Point) -> Selection:
    """Return the selection with the label of its last click for the distinct region (n,) around the click."""
    before = np.zeros(graph.count, np.float32) if selection.probability is None else selection.probability
    probability = np.where(region, DISTINCT if click.is_positive else 0, before)
    last = last_click(graph, click, np.where(region, not click.is_positive, click.is_positive))
    clicks, is_first = (*selection.clicks[:-1], last), selection.probability is None
    return _clamped(replace(selection, clicks=clicks, is_distinct=is_first), probability)


def _first(
    graph: RegionGraph, selection: Selection, guess: Floats, weight: float, last: LastClick | None, network: Network
) -> Selection:
    """Return the selection for the first prompt: a cut of the weighted mean of the guess's and the network's logits."""
    probability = _corrected(graph, selection, guess, last, network)
    logits = weight * logit(guess, CERTAIN) + (1 - weight) * logit(probability, CERTAIN)
    first = np.asarray(1 / (1 + np.exp(-logits)), np.float32)
    first[list(selection.positive.regions)] = 1
    return _clamped(replace(selection, before_cut=first), with_cut(graph, first))


def _corrected(
    graph: RegionGraph, selection: Selection, previous: Floats, last: LastClick | None, network: Network
) -> Floats:
    inputs = evidence(graph, selection.positive, selection.negative, selection.box, last, previous)
    return network(graph, inputs)


def _clamped(selection: Selection, probability: Floats) -> Selection:
    """Return the selection with a probability (n,), which is 0 or 1 at the clicks."""
    probability = np.array(probability, np.float32)
    probability[list(selection.negative.regions)] = 0
    probability[list(selection.positive.regions)] = 1
    return replace(selection, probability=probability)
