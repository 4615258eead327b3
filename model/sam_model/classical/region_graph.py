"""The graph of superpixels: neighbours, distances, and similarity to the background.

Sources: geodesic distance for segmentation, Bai & Sapiro, ICCV 2007; minimax paths are the ultrametric of the minimum
spanning tree (Arbelaez, CVPR-W 2006); background by boundary connectivity, Zhu et al., CVPR 2014.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra, minimum_spanning_tree

from sam_model.classical.colour_words import ColourWords, Floats, colour_words

COLOUR_WEIGHTS = np.array([0.8, 1.2, 1.2], np.float32)  # light changes with shading, so L counts less than a and b
COLOUR_STEP = 10.0  # Lab difference of two neighbours that costs one unit of path
EDGE_STEP = 4.0  # edge strength on their border that costs one unit
MIN_STEP = 0.02  # minimum length of a step, also in a flat region
MAX_DISTANCE = 60.0  # limit of the geodesic distance
GEODESIC_REACH = 1.8  # of boundary connectivity; the paper's sigma_clr, in our units
BORDER_REACH = 0.55  # the paper's sigma_bndCon, in our units


@dataclass(frozen=True)
class RegionGraph:
    """n superpixels of the working image (h, w); the matrices are symmetric, float32 (n, n)."""

    labels: NDArray[np.int32]  # (h, w)
    area: Floats  # (n,), share of the image
    colour: Floats  # (n, 3), mean Lab
    centre: Floats  # (n, 2), x and y in working pixels
    extent: Floats  # (n, 4), x_min, y_min, x_max, y_max in working pixels
    rim: Floats  # (n,), pixels on the border of the image
    pairs: NDArray[np.int64]  # (P, 2), the regions that touch
    shared: Floats  # (P,), pixel edges that a pair shares
    step: Floats  # (P,), dissimilarity of a pair: colour and edge between them
    geodesic: Floats  # cheapest path: the sum of its steps
    minimax: Floats  # easiest path: its highest step
    background: Floats  # (n,), 0..1
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

    def region_at(self, xy: tuple[float, float] | Floats) -> int:
        """Return the superpixel at a point in working pixels."""
        height, width = self.labels.shape
        return int(self.labels[min(max(int(xy[1]), 0), height - 1), min(max(int(xy[0]), 0), width - 1)])

    @property
    def nbytes(self) -> int:
        """Memory of all arrays, in bytes."""
        return sum(value.nbytes for value in vars(self).values())


def region_graph(lab: Floats, labels: NDArray[np.int32]) -> RegionGraph:
    """The graph of superpixels `labels` (h, w) of an image in CIE Lab (h, w, 3)."""
    n = int(labels.max()) + 1
    ids = labels.ravel()
    pixels = np.bincount(ids, minlength=n).astype(np.float64)
    colour = np.stack([np.bincount(ids, lab[..., k].ravel(), n) / pixels for k in range(3)], axis=1)
    y, x = np.mgrid[0 : labels.shape[0], 0 : labels.shape[1]]
    centre = np.stack([np.bincount(ids, v.ravel(), n) / pixels + 0.5 for v in (x, y)], axis=1)
    rim = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    border = np.bincount(rim, minlength=n)

    i, j, shared, strength = _shared_borders(labels, edge_strength(lab))
    weighted = colour * COLOUR_WEIGHTS
    step = np.linalg.norm(weighted[i] - weighted[j], axis=1) / COLOUR_STEP + strength / EDGE_STEP
    geodesic, minimax = _geodesic(n, i, j, step), _minimax(n, i, j, step)
    area = pixels / pixels.sum()

    return RegionGraph(
        labels=labels,
        area=area.astype(np.float32),
        colour=colour.astype(np.float32),
        centre=centre.astype(np.float32),
        extent=_extent(labels, n),
        rim=border.astype(np.float32),
        pairs=np.stack([i, j], axis=1),
        shared=shared.astype(np.float32),
        step=step.astype(np.float32),
        geodesic=geodesic.astype(np.float32),
        minimax=minimax.astype(np.float32),
        background=_background(geodesic, area, border / border.sum()).astype(np.float32),
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


def _geodesic(n: int, i: NDArray[np.int64], j: NDArray[np.int64], step: Floats) -> Floats:
    """Return the length of the shortest path between any two regions; the small steps of texture are almost free."""
    if n == 1:
        return np.zeros((1, 1))
    texture = 0.5 * np.percentile(step, 20)
    cost = np.maximum(step - texture, 0) + MIN_STEP
    return np.asarray(np.minimum(dijkstra(csr_matrix((cost, (i, j)), (n, n)), directed=False), MAX_DISTANCE))


def _minimax(n: int, i: NDArray[np.int64], j: NDArray[np.int64], step: Floats) -> Floats:
    """Return the highest step on the best path between any two regions: merge the tree's edges in ascending order."""
    heights = np.zeros((n, n))
    tree = minimum_spanning_tree(csr_matrix((step + 1e-6, (i, j)), (n, n))).tocoo()
    group = np.arange(n)
    members = [np.array([k]) for k in range(n)]
    for k in np.argsort(tree.data, kind="stable"):
        a, b = group[tree.row[k]], group[tree.col[k]]
        if members[a].size < members[b].size:
            a, b = b, a
        heights[np.ix_(members[a], members[b])] = tree.data[k]
        heights[np.ix_(members[b], members[a])] = tree.data[k]
        group[members[b]] = a
        members[a] = np.concatenate([members[a], members[b]])
    return heights


def _background(geodesic: Floats, area: Floats, border: Floats) -> Floats:
    """Return the similarity to background, Zhu et al., equations 3 to 6: high if the surroundings are on the border."""
    near = np.exp(-(geodesic**2) / (2 * GEODESIC_REACH**2))
    connectivity = (near @ border) / np.sqrt(near @ area)
    return np.asarray(1 - np.exp(-(connectivity**2) / (2 * BORDER_REACH**2)))
