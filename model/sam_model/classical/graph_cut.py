"""The outline of the first answer by a graph cut, which finds the colours and edges that regions are too coarse for.

The cut is made on a small copy of the image around the answer. What the answer is sure of stays object or ground.

Source: Rother et al., GrabCut, SIGGRAPH 2004, by OpenCV.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_model.classical.colour_words import Floats
from sam_model.classical.region_graph import RegionGraph
from sam_model.classical.region_network import logit

PIXELS = 10_000  # of the copy, at most
MARGIN = 0.5  # around the answer, in its sides
LIKELY = 0.4  # probability from which a pixel is object at the start
SURE = 0.9  # probability from which it stays object
NEVER = 0.03  # probability below which it stays ground
TRUST = 4.0  # logit that the cut adds to a region
CERTAIN = 0.02  # probabilities nearer to 0 or 1 count as this


def with_cut(graph: RegionGraph, probability: Floats) -> Floats:
    """Return the probability (n,) of each region, changed by a graph cut that starts with `probability` (n,)."""
    likely = probability > 0.5
    if not likely.any():
        return probability
    x0, y0, x1, y1 = _window(graph, likely)
    shrink = max(1.0, math.sqrt((x1 - x0) * (y1 - y0) / PIXELS))
    size = (max(1, round((x1 - x0) / shrink)), max(1, round((y1 - y0) / shrink)))
    by_pixel = probability[graph.labels]
    start = cv2.resize(by_pixel[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA)
    sides = np.where(start > LIKELY, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    sides[start > SURE], sides[start < NEVER] = cv2.GC_FGD, cv2.GC_BGD
    is_object = sides % 2 == 1  # GC_FGD and GC_PR_FGD are odd
    if is_object.all() or not is_object.any():
        return probability
    copy = cv2.resize(graph.pixels[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA)
    cv2.setRNGSeed(0)  # of this thread; the colour models start with k-means
    cv2.grabCut(copy, sides, None, np.zeros((1, 65)), np.zeros((1, 65)), 1, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    by_pixel[y0:y1, x0:x1] = cv2.resize((sides % 2).astype(np.float32), (x1 - x0, y1 - y0))
    ids = graph.labels.ravel()
    share = np.bincount(ids, by_pixel.ravel(), graph.count) / np.bincount(ids, minlength=graph.count)
    return np.asarray(1 / (1 + np.exp(-logit(probability, CERTAIN) - TRUST * (2 * share - 1))), np.float32)


def _window(graph: RegionGraph, likely: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return the part (x_min, y_min, x_max, y_max) of the working image with the likely regions (n,) and a margin."""
    height, width = graph.labels.shape
    low, high = graph.extent[likely, :2].min(axis=0), graph.extent[likely, 2:].max(axis=0)
    margin = MARGIN * (high - low) + 6
    x0, y0 = np.maximum(low - margin, 0).astype(int)
    x1, y1 = np.minimum(high + margin, [width, height]).astype(int)
    return int(x0), int(y0), int(x1), int(y1)
