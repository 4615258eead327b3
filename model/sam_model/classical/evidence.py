"""From prompts to a probability per superpixel: colour, geodesic and spatial evidence, smoothed over the graph."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam_model.classical.region_graph import Floats, RegionGraph

ROUNDS = 3  # of colour models and what they explain


@dataclass(frozen=True)
class WorkingPrompt:
    """A prompt in working pixels, clamped to the working image; `positive` and `negative` are (N, 2), x and y."""

    positive: Floats
    negative: Floats
    box: tuple[float, float, float, float] | None


def region_at(graph: RegionGraph, points: Floats) -> NDArray[np.int32]:
    """The superpixel under each point (N, 2)."""
    height, width = graph.labels.shape
    column = np.clip(points[:, 0].astype(int), 0, width - 1)
    row = np.clip(points[:, 1].astype(int), 0, height - 1)
    return graph.labels[row, column]


def share_in_box(graph: RegionGraph, box: tuple[float, float, float, float]) -> Floats:
    """Which share of each superpixel (n,) lies in the box."""
    height, width = graph.labels.shape
    x = np.clip(np.minimum(np.arange(width) + 1, box[2]) - np.maximum(np.arange(width), box[0]), 0, 1)
    y = np.clip(np.minimum(np.arange(height) + 1, box[3]) - np.maximum(np.arange(height), box[1]), 0, 1)
    inside = np.bincount(graph.labels.ravel(), np.outer(y, x).ravel(), graph.count)
    return (inside / np.bincount(graph.labels.ravel(), minlength=graph.count)).astype(np.float32)


def object_probability(graph: RegionGraph, prompt: WorkingPrompt) -> Floats:
    """Probability of being object for each superpixel (n,)."""
    n = graph.count
    height, width = graph.labels.shape
    diagonal = float(np.hypot(height, width))
    positive, negative = region_at(graph, prompt.positive), region_at(graph, prompt.negative)
    to_positive = graph.geodesic[positive].min(axis=0, initial=FAR if len(positive) == 0 else np.inf)
    to_negative = graph.geodesic[negative].min(axis=0, initial=30 if len(negative) == 0 else np.inf)
    inside, outwards = np.ones(n, np.float32), np.zeros((n, 2), np.float32)
    outside = graph.on_border
    if prompt.box is not None:
        x0, y0, x1, y1 = prompt.box
        inside = share_in_box(graph, prompt.box)
        half = np.maximum([(x1 - x0) / 2, (y1 - y0) / 2], 0.5)
        outwards = (graph.centre - np.array([(x0 + x1) / 2, (y0 + y1) / 2])) / half
        if (inside < 0.2).any():
            outside = inside < 0.2
    to_outside = graph.geodesic[outside].min(axis=0)
    over_outside = graph.minimax[outside].min(axis=0)
    from_middle = np.hypot(outwards[:, 0], outwards[:, 1])

    if len(positive):
        object_share = np.exp(-to_positive / 1.5)
    else:
        object_share = inside * np.exp(-(from_middle**2))
    if prompt.box is None:
        background_share = graph.background.copy()
    else:
        beyond = np.clip(np.abs(outwards).max(axis=1) - 1, 0, 3)
        background_share = np.where(inside < 0.3, 1.0, 0.02) * np.exp(-(beyond**2) / 0.5)
    if len(negative):
        background_share = background_share + 4 * np.exp(-to_negative / 1.5)
    object_share = object_share * inside
    first = None
    for _ in range(ROUNDS):
        ratio = _colour_log_ratio(graph, object_share, background_share)
        first = ratio if first is None else first
        explained = 1 / (1 + np.exp(-1.2 * ratio))
        if len(positive):
            object_share = explained * np.exp(-to_positive / 4) * inside
            object_share[positive] = 1
        else:
            object_share = explained * inside * np.exp(-(from_middle**2) * 0.6)

    if len(positive) == 0:
        logit = ratio + 0.5 * first - 1.6 * (from_middle - 0.8) + 0.4 * np.minimum(over_outside, 2)
    else:
        distance = _nearest(graph.centre, prompt.positive) / diagonal
        over_positive = graph.minimax[positive].min(axis=0)
        apart = float(over_outside[positive].mean())
        logit = 0.7 * ratio - 0.24 * np.minimum(to_positive, 20)
        logit += 0.6 * np.minimum(np.minimum(np.minimum(to_outside, to_negative) / 5, 2.5), 4)
        logit -= np.clip(over_positive / (apart + 0.1), 0, 3) - 1
        logit -= 1.5 * graph.background * (distance > 0.05) + 4 * (distance - 0.2)
        if len(negative):
            away = _nearest(graph.centre, prompt.negative) / diagonal
            logit -= 0.6 * np.log(len(negative) + 1) * np.clip(np.log((distance + 0.01) / (away + 0.01)), -4, 4)
    probability = 1 / (1 + np.exp(-logit))
    probability = np.where(inside > 0.5, probability, 0)
    return _smooth(graph, probability, positive, negative)


FAR = 8.0


def _nearest(centres: Floats, points: Floats) -> Floats:
    return np.linalg.norm(centres[:, None] - points[None], axis=2).min(axis=1)


def _colour_log_ratio(graph: RegionGraph, object_share: Floats, background_share: Floats) -> Floats:
    object_area, background_area = object_share * graph.area, background_share * graph.area
    of_object = graph.alike @ object_area / (object_area.sum() + 1e-9)
    of_background = graph.alike @ background_area / (background_area.sum() + 1e-9)
    return np.log((of_object + 0.01) / (of_background + 0.01))


def _smooth(
    graph: RegionGraph, probability: Floats, positive: NDArray[np.int32], negative: NDArray[np.int32]
) -> Floats:
    weight = 0.25 + 2 * np.abs(probability - 0.5)
    target = probability.copy()
    target[positive], target[negative] = 1, 0
    weight[positive] = weight[negative] = 50
    return np.linalg.solve(graph.smoothing + np.diag(weight).astype(np.float32), (weight * target).astype(np.float32))
