"""The region of a click, where it is plain: sharp edges all around it, and uniform colours on both sides of them.

The regions that a click reaches below a limit of the highest step form a component; a higher limit gives a larger one.
A component is distinct if the steps across its outline are high, compared with those within it and in its surroundings.
Drawings, screens and small objects on plain ground have distinct components. Photographs seldom have any.

Sources: a boundary is evident if the difference across it is large relative to those within, Felzenszwalb &
Huttenlocher, Efficient Graph-Based Image Segmentation, IJCV 2004; components that stay the same over a wide range of
limits, Matas et al., MSER, BMVC 2002.
"""

import numpy as np
from numpy.typing import NDArray

from sam_model.classical.colour_words import Floats
from sam_model.classical.plausibility import weighted_sum
from sam_model.classical.region_graph import Reach, RegionGraph

CANDIDATES = 8  # components that are compared
MAX_AREA = 0.9  # share of the image
MAX_STEP = 6.0  # larger steps count as this
USUAL_STEP = 0.3  # added to the mean steps, since a step of 0 would make every outline high
WEAKEST = 0.1  # share of the outline whose steps may be lower than the one that counts
SURROUNDINGS = 3  # number of regions next to each other that count as surroundings
MAX_ROUGHNESS = 2.4  # of the mean step within a small component, and within its surroundings
PER_AREA = 6.0  # by which this falls with the component's share of the image: large ones may be several objects
FLAT = 0.35  # mean step within a component that is uniform at any size
MIN_DISTINCTNESS = 0.9  # least ratio of the outline's step to the sum of both mean steps


def distinct_region(graph: RegionGraph, reach: Reach) -> NDArray[np.bool_] | None:
    """Return the most distinct component (n,) of a click; None if none is distinct. `reach` is that of the click."""
    order = np.argsort(reach.climb, kind="stable")
    climb = reach.climb[order]
    jumps = climb[1:] / (climb[:-1] + USUAL_STEP)
    jumps[np.cumsum(graph.area[order])[:-1] > MAX_AREA] = 0
    last = np.argsort(-jumps, kind="stable")[:CANDIDATES]
    if not last.size:
        return None
    rank = np.empty(order.size, np.int64)
    rank[order] = np.arange(order.size)
    components = rank[:, None] <= last  # (n, K)
    distinctness = _distinctness(graph, components)
    best = int(distinctness.argmax())
    return components[:, best] if distinctness[best] >= MIN_DISTINCTNESS else None


def _distinctness(graph: RegionGraph, components: NDArray[np.bool_]) -> Floats:
    """Return how distinct each of K components (n, K) is; 0 for those that are not uniform."""
    i, j = graph.pairs.T
    step = np.minimum(graph.step, MAX_STEP)
    widened = [components]
    for _ in range(SURROUNDINGS):
        widened.append(widened[-1] | (graph.mixing @ widened[-1].astype(np.float32) > 0))
    around = widened[-1] & ~widened[1]  # without the regions at the outline, which may have colours of both sides
    within = components[i] & components[j]  # (P, K)
    beside = around[i] & around[j]
    own, others = (_mean(step, graph.shared[:, None] * pairs) for pairs in (within, beside))
    own = np.where(within.any(axis=0), own, others)  # a single region has no steps within
    outline = _quantile(graph.step, graph.shared[:, None] * (components[i] != components[j]), WEAKEST)
    limit = np.maximum(MAX_ROUGHNESS - PER_AREA * weighted_sum(components.T, graph.area), FLAT)
    is_uniform = (own <= limit) & (others <= MAX_ROUGHNESS)
    return np.where(is_uniform, outline / (USUAL_STEP + own + others), 0)


def _mean(values: Floats, weights: Floats) -> Floats:
    """Return the weighted mean (K,) of values (P,), for weights (P, K); 0 without weights."""
    return np.asarray(np.einsum("p,pk->k", values, weights) / np.maximum(weights.sum(axis=0), 1e-6))


def _quantile(values: Floats, weights: Floats, share: float) -> Floats:
    """Return the weighted quantile (K,) of values (P,), for weights (P, K)."""
    by_value = np.argsort(values, kind="stable")
    until = np.cumsum(weights[by_value], axis=0)
    return np.asarray(values[by_value][(until < share * until[-1]).sum(axis=0)])
