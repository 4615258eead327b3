"""The graph of superpixels: neighbours, paths, colours.

Sources: geodesic distance for segmentation, Bai & Sapiro, ICCV 2007; minimax paths are the ultrametric of the minimum
spanning tree (Arbelaez, CVPR-W 2006); background by boundary connectivity, Zhu et al., CVPR 2014.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from sam_model.classical.colour_words import ColourWords, Floats, colour_words

COLOUR_WEIGHTS = np.array([0.8, 1.2, 1.2], np.float32)  # light changes with shading, so L counts less than a and b
COLOUR_STEP = 10.0  # Lab difference of two neighbours that costs one unit of path
EDGE_STEP = 4.0  # edge strength on their border that costs one unit
MAX_STEP = 8.0  # between two regions; larger ones count as this
MIN_STEP = 0.02  # minimum length of a step, also in a flat region
FREE_STEPS = 0.5  # of the 20th percentile of the steps: the small steps of texture, which are almost free
MAX_PATH = 20.0  # limit of the geodesic distance
GEODESIC_REACH = 1.8  # of boundary connectivity; the paper's sigma_clr, in our units
BORDER_REACH = 0.55  # the paper's sigma_bndCon, in our units
EVERY = 4  # one region of this many stands for its neighbours in the boundary connectivity
STEEPNESS = 8  # the sum of steps to this power is almost the power of the largest one


@dataclass(frozen=True)
class Reach:
    """The distances of each of n superpixels from the nearest of some starts."""

    path: Floats  # (n,), the sum of the steps on the cheapest path
    climb: Floats  # (n,), the highest step on the easiest path

    def nearer(self, other: "Reach") -> "Reach":
        """Return the distances from the starts of both."""
        return Reach(np.minimum(self.path, other.path), np.minimum(self.climb, other.climb))


@dataclass(frozen=True)
class RegionGraph:
    """n superpixels of the working image (h, w); the matrices are symmetric, float32 (n, n), sparse."""

    labels: NDArray[np.int32]  # (h, w)
    pixels: NDArray[np.uint8]  # (h, w, 3), 8-bit Lab
    area: Floats  # (n,), share of the image
    colour: Floats  # (n, 3), mean Lab
    weighted_colour: Floats  # (n, 3), mean Lab times COLOUR_WEIGHTS
    centre: Floats  # (n, 2), x and y in working pixels
    extent: Floats  # (n, 4), x_min, y_min, x_max, y_max in working pixels
    rim: Floats  # (n,), pixels on the border of the image
    pairs: NDArray[np.int64]  # (P, 2), the regions that touch
    shared: Floats  # (P,), pixel edges that a pair shares
    step: Floats  # (P,), dissimilarity of a pair: colour and edge between them
    background: Floats  # (n,), similarity to the background, 0..1
    roughness: Floats  # (n,), mean step to the neighbours
    costs: csr_matrix  # what a step to a neighbour adds to a path
    heights: csr_matrix  # steps to the power of STEEPNESS
    mixing: csr_matrix  # weights of a region's neighbours, by length and weakness of the border; rows sum up to 1
    words: ColourWords

    @property
    def count(self) -> int:
        """The number of superpixels."""
        return int(self.area.size)

    @property
    def diagonal(self) -> float:
        """The length of the working image's diagonal in pixels."""
        height, width = self.labels.shape
        return float(np.hypot(height, width))

    @property
    def nbytes(self) -> int:
        """Memory of all arrays, in bytes."""
        matrices = (self.costs, self.heights, self.mixing)
        sparse = sum(m.data.nbytes + m.indices.nbytes + m.indptr.nbytes for m in matrices)
        return int(sparse + sum(getattr(value, "nbytes", 0) for value in vars(self).values()))

    def region_at(self, xy: tuple[float, float] | Floats) -> int:
        """Return the superpixel at a point in working pixels."""
        height, width = self.labels.shape
        return int(self.labels[min(max(int(xy[1]), 0), height - 1), min(max(int(xy[0]), 0), width - 1)])

    def reach(self, starts: list[int] | NDArray[np.int64]) -> Reach:
        """Return the distances from the nearest of the regions `starts`; the largest possible ones without starts."""
        if not len(starts):
            return Reach(np.full(self.count, MAX_PATH, np.float32), np.full(self.count, MAX_STEP, np.float32))
        path = dijkstra(self.costs, indices=starts, min_only=True, limit=MAX_PATH)
        climb = dijkstra(self.heights, indices=starts, min_only=True) ** (1 / STEEPNESS)
        return Reach(np.minimum(path, MAX_PATH).astype(np.float32), np.minimum(climb, MAX_STEP).astype(np.float32))


def region_graph(lab: Floats, labels: NDArray[np.int32]) -> RegionGraph:
    """Return the graph of superpixels `labels` (h, w) of an image in CIE Lab (h, w, 3)."""
    n = int(labels.max()) + 1
    ids = labels.ravel()
    pixels = np.bincount(ids, minlength=n).astype(np.float64)
    colour = np.stack([np.bincount(ids, lab[..., k].ravel(), n) / pixels for k in range(3)], axis=1)
    y, x = np.mgrid[0 : labels.shape[0], 0 : labels.shape[1]]
    centre = np.stack([np.bincount(ids, v.ravel(), n) / pixels + 0.5 for v in (x, y)], axis=1)
    area = pixels / pixels.sum()

    i, j, shared, strength = _shared_borders(labels, edge_strength(lab))
    weighted = colour * COLOUR_WEIGHTS
    step = np.linalg.norm(weighted[i] - weighted[j], axis=1) / COLOUR_STEP + strength / EDGE_STEP
    step = np.minimum(step, MAX_STEP)
    texture = FREE_STEPS * np.percentile(step, 20) if step.size else 0.0
    around = np.bincount(i, shared, n) + np.bincount(j, shared, n)
    steps_around = np.bincount(i, shared * step, n) + np.bincount(j, shared * step, n)

    def matrix(values: Floats) -> csr_matrix:
        both = np.concatenate([values, values]).astype(np.float32)
        return csr_matrix((both, (np.concatenate([i, j]), np.concatenate([j, i]))), (n, n))

    weights = matrix(np.exp(-step) * np.sqrt(shared))
    costs = matrix(np.maximum(step - texture, 0) + MIN_STEP)
    rim = np.bincount(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]), minlength=n)
    totals = np.asarray(weights.sum(axis=1)).ravel()
    weights.data /= np.repeat(np.maximum(totals, 1e-6), np.diff(weights.indptr))
    return RegionGraph(
        labels=labels,
        pixels=np.clip(np.rint(lab * [255 / 100, 1, 1] + [0, 128, 128]), 0, 255).astype(np.uint8),
        area=area.astype(np.float32),
        colour=colour.astype(np.float32),
        weighted_colour=weighted.astype(np.float32),
        centre=centre.astype(np.float32),
        extent=_extent(labels, n),
        rim=rim.astype(np.float32),
        pairs=np.stack([i, j], axis=1),
        shared=shared.astype(np.float32),
        step=step.astype(np.float32),
        background=_background(costs, area, rim.astype(np.float64)).astype(np.float32),
        roughness=(steps_around / np.maximum(around, 1)).astype(np.float32),
        costs=costs,
        heights=matrix((step + MIN_STEP) ** STEEPNESS),
        mixing=weights,
        words=colour_words(weighted, area),
    )


def _extent(labels: NDArray[np.int32], n: int) -> Floats:
    """Return the bounding box of every region (n, 4)."""
    spans = find_objects(labels + 1, n)
    return np.array([(x.start, y.start, x.stop, y.stop) for y, x in spans], np.float32)


def edge_strength(lab: Floats) -> Floats:
    """Return the Lab gradient (h, w), the maximum over two scales."""
    strongest = np.zeros(lab.shape[:2], np.float32)
    for sigma in (1.0, 2.0):
        smooth = cv2.GaussianBlur(lab, (0, 0), sigma)
        dx, dy = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
        gradient = np.sqrt((dx * dx + dy * dy).sum(axis=2)) * (sigma / 8)  # 8: the sum of Sobel's weights
        strongest = np.maximum(strongest, gradient)
    return strongest


def _shared_borders(labels: NDArray[np.int32], edges: Floats) -> tuple[NDArray[np.int64], ...]:
    """Return for every two neighbouring regions their numbers, the length of the border, and its mean edge strength."""
    n = int(labels.max()) + 1
    keys, strengths = [], []
    for a, b, edge_a, edge_b in (
        (labels[:, :-1], labels[:, 1:], edges[:, :-1], edges[:, 1:]),
        (labels[:-1], labels[1:], edges[:-1], edges[1:]),
    ):
        differ = a != b
        low, high = np.minimum(a[differ], b[differ]), np.maximum(a[differ], b[differ])
        keys.append(low.astype(np.int64) * n + high)
        strengths.append(np.maximum(edge_a[differ], edge_b[differ]))
    pairs, which = np.unique(np.concatenate(keys), return_inverse=True)
    shared = np.bincount(which, minlength=pairs.size)
    strength = np.bincount(which, np.concatenate(strengths), pairs.size) / np.maximum(shared, 1)
    return pairs // n, pairs % n, shared, strength


def _background(costs: csr_matrix, area: Floats, rim: Floats) -> Floats:
    """Return the similarity to background, Zhu et al., equations 3 to 6: high if the surroundings are on the border."""
    some = np.arange(0, area.size, EVERY)
    path = dijkstra(costs, indices=some, limit=3 * GEODESIC_REACH)
    near = np.exp(-(path**2) / (2 * GEODESIC_REACH**2))  # (n / EVERY, n); 0 where the path is longer than the limit
    weights = np.stack([rim[some] / max(rim[some].sum(), 1), area[some] / area[some].sum()])
    on_rim, around = weights @ near
    connectivity = on_rim / np.sqrt(np.maximum(around, 1e-9))
    return np.asarray(1 - np.exp(-(connectivity**2) / (2 * BORDER_REACH**2)))
