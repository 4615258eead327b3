"""Superpixels by SLIC: small connected regions of similar colour, on a grid of square cells.

As in gSLICr (Ren et al., arXiv:1509.04232), a pixel chooses among the centres of its own cell and of the eight cells
around it, so one iteration is a batch of small matrix products.

Source: Achanta et al., SLIC Superpixels Compared to State-of-the-art Superpixel Methods, TPAMI 2012.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

COMPACTNESS = 9.0  # Lab units that equal a distance of one cell
ROUNDS = 5
MIN_PART = 0.25  # of a cell; smaller disconnected parts are merged into a neighbour


def slic(lab: NDArray[np.float32], cell: int) -> NDArray[np.int32]:
    """Return labels (H, W) of connected superpixels, 0..n-1, about one per cell of `cell` x `cell` pixels.

    `lab` is CIE Lab (H, W, 3); H and W are multiples of `cell`.
    """
    height, width = lab.shape[:2]
    rows, columns = height // cell, width // cell
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) * (COMPACTNESS / cell)
    features = np.dstack([lab, x, y, np.ones_like(x)])
    # (H, W, 6) -> (rows, columns, cell * cell, 6)
    by_cell = features.reshape(rows, cell, columns, cell, 6).transpose(0, 2, 1, 3, 4)
    cells = np.ascontiguousarray(by_cell.reshape(rows, columns, cell * cell, 6))
    centres = cells[..., :5].mean(axis=2)  # (rows, columns, 5)
    around = _cells_around(rows, columns)
    number_of_cells = rows * columns
    for _ in range(ROUNDS):
        flat = centres.reshape(number_of_cells, 5)
        # |f - c|^2 = |f|^2 - 2 f.c + |c|^2, and |f|^2 is the same for all nine
        terms = np.concatenate([-2 * flat, (flat * flat).sum(axis=1, keepdims=True)], axis=1)
        distances = cells @ terms[around].transpose(0, 1, 3, 2)  # (rows, columns, cell * cell, 9)
        choice = distances.argmin(axis=3)
        labels = np.take_along_axis(around, choice.reshape(rows, columns, -1), axis=2)
        ids = labels.ravel()
        count = np.bincount(ids, minlength=number_of_cells)
        sums = [np.bincount(ids, cells[..., k].ravel(), number_of_cells) for k in range(5)]
        means = np.stack(sums, axis=1) / np.maximum(count, 1)[:, None]
        centres = np.where(count[:, None] > 0, means, flat).astype(np.float32).reshape(rows, columns, 5)
    labels = labels.reshape(rows, columns, cell, cell).transpose(0, 2, 1, 3).reshape(height, width)
    return _connected(labels, lab, MIN_PART * cell * cell)


def _cells_around(rows: int, columns: int) -> NDArray[np.int64]:
    """Return the nine cells around each cell, itself included: (rows, columns, 9). At the border some are repeated."""
    row, column = np.mgrid[0:rows, 0:columns]
    steps = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    return np.stack(
        [np.clip(row + i, 0, rows - 1) * columns + np.clip(column + j, 0, columns - 1) for i, j in steps], axis=2
    )


def _connected(labels: NDArray[np.int64], lab: NDArray[np.float32], smallest: float) -> NDArray[np.int32]:
    """Give every connected part a label; merge parts below `smallest` pixels into their most similar neighbour."""
    ids = np.arange(labels.size).reshape(labels.shape)
    right, down = labels[:, 1:] == labels[:, :-1], labels[1:] == labels[:-1]
    one = np.concatenate([ids[:, :-1][right], ids[:-1][down]])
    other = np.concatenate([ids[:, 1:][right], ids[1:][down]])
    graph = coo_matrix((np.ones(one.size, np.int8), (one, other)), shape=(labels.size, labels.size))
    n, flat = connected_components(graph, directed=False)
    for _ in range(4):  # if a small part has only small neighbours, these are merged first
        area = np.bincount(flat, minlength=n)
        small = area < smallest
        if n == 1 or not small.any():
            break
        parts = flat.reshape(labels.shape)
        colour = np.stack([np.bincount(flat, lab[..., k].ravel(), n) for k in range(3)], axis=1) / area[:, None]
        pairs = neighbours(parts)
        pairs = np.concatenate([pairs, pairs[:, ::-1]])
        pairs = pairs[small[pairs[:, 0]]]
        unlike = np.linalg.norm(colour[pairs[:, 0]] - colour[pairs[:, 1]], axis=1)
        order = np.lexsort((unlike, pairs[:, 0]))
        first = order[np.unique(pairs[order, 0], return_index=True)[1]]
        join = coo_matrix((np.ones(first.size, np.int8), (pairs[first, 0], pairs[first, 1])), shape=(n, n))
        n, merged = connected_components(join, directed=False)
        flat = merged[flat]
    return np.asarray(flat.reshape(labels.shape), np.int32)


def neighbours(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the pairs (first < second) of labels that share a pixel edge, sorted; (P, 2)."""
    n = int(labels.max()) + 1
    keys = []
    for one, other in ((labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])):
        differ = one != other
        low, high = np.minimum(one[differ], other[differ]), np.maximum(one[differ], other[differ])
        keys.append(low.astype(np.int64) * n + high)
    key = np.unique(np.concatenate(keys))
    return np.stack([key // n, key % n], axis=1)
