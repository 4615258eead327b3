"""Quantised colours of an image and their similarity, for colour models.

The colours are clustered by k-means with Lloyd's iterations. They start with equal shares along the colours' main axis,
so there are no random numbers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

WORDS = 48
LLOYD_ROUNDS = 6
SAME_COLOUR = 9.0  # Lab distance at which the similarity is exp(-1/2)
RARE = 0.01  # share below which a colour has little weight


@dataclass(frozen=True)
class ColourWords:
    """The colour cluster ("word") of each of n regions, and the similarity of the clusters."""

    word: NDArray[np.int64]  # (n,), 0..W-1
    alike: Floats  # (W, W), 0..1

    @property
    def nbytes(self) -> int:
        """Memory of the arrays in bytes."""
        return self.word.nbytes + self.alike.nbytes

    def histogram(self, amounts: Floats) -> Floats:
        """Return the amount of each word in `amounts` (M, n), as (M, W)."""
        by_word = np.argsort(self.word, kind="stable")
        starts = np.searchsorted(self.word[by_word], np.arange(len(self.alike)))
        return np.asarray(np.add.reduceat(amounts[:, by_word], starts, axis=1))

    def log_ratio(self, one: Floats, other: Floats) -> Floats:
        """Return the log ratio of each word's frequency in histogram `one` to that in `other`; all are (M, W)."""
        of_one = one @ self.alike / (one.sum(axis=1, keepdims=True) + 1e-9)
        of_other = other @ self.alike / (other.sum(axis=1, keepdims=True) + 1e-9)
        return np.asarray(np.log((of_one + RARE) / (of_other + RARE)))


def colour_words(colours: Floats, weights: Floats) -> ColourWords:
    """Cluster colours (n, 3), given in a space where distance means dissimilarity, with weights (n,)."""
    word, means = k_means(colours, weights, WORDS)
    used, word = np.unique(word, return_inverse=True)
    unlike = ((means[used][:, None] - means[used][None]) ** 2).sum(axis=2)
    return ColourWords(word, np.exp(-unlike / (2 * SAME_COLOUR**2)).astype(np.float32))


def k_means(colours: Floats, weights: Floats, count: int) -> tuple[NDArray[np.int64], Floats]:
    """Return the cluster (n,) of each colour (n, 3) and the clusters' means (count, 3). Clusters may be empty."""
    share = weights / weights.sum()
    centred = colours - share @ colours
    axis = np.linalg.eigh((centred * share[:, None]).T @ centred)[1][:, -1]
    along = np.argsort(centred @ axis, kind="stable")
    group = np.empty(len(colours), np.int64)
    group[along] = np.minimum((np.cumsum(share[along]) * count).astype(int), count - 1)
    means: Floats = np.zeros((count, 3))
    for _ in range(LLOYD_ROUNDS):
        mass = np.bincount(group, share, count)
        sums = np.stack([np.bincount(group, share * colours[:, k], count) for k in range(3)], axis=1)
        means = np.where(mass[:, None] > 0, sums / np.maximum(mass, 1e-9)[:, None], means)
        group = ((colours[:, None] - means[None]) ** 2).sum(axis=2).argmin(axis=1)
    return group, means
