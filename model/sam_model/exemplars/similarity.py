"""Similarity of descriptors to examples, as a score in 0..1.

A score is the product of two shares. The first is how far the cosine with the nearest positive example lies between the
usual cosine of the background and that of examples among themselves. The second compares the distances from the nearest
negative and the nearest positive example. So no constant depends on the engine.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam_model.exemplars.descriptors import Descriptors

BACKGROUND_COSINE = 0.5  # without any negative example
MIN_SPAN = 0.05  # between the cosines of background and examples
SAME_COSINE_OF_ONE = 0.95  # of two objects of a class, where there is only one example
SOFTENING = 0.02  # added to both distances: tiny differences decide nothing
CHUNK = 16_384  # descriptors that are compared at a time

Scores = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Examples:
    """The examples of one label: `positive` (P, D) with P > 0, and `negative` (N, D)."""

    positive: Descriptors
    negative: Descriptors

    @property
    def background(self) -> float:
        """The usual cosine of a negative example with its nearest positive one."""
        if not len(self.negative):
            return BACKGROUND_COSINE
        return float(np.median((self.negative @ self.positive.T).max(axis=1)))

    @property
    def same(self) -> float:
        """The usual cosine of a positive example with its nearest other one."""
        if len(self.positive) < 2:
            return SAME_COSINE_OF_ONE
        cosines = self.positive @ self.positive.T
        np.fill_diagonal(cosines, -1)
        return float(np.median(cosines.max(axis=1)))


def similarity_scores(descriptors: NDArray[np.float16] | Descriptors, examples: Examples) -> Scores:
    """Return the score (M,) in 0..1 of each of M `descriptors` (M, D), which may be a memory-mapped file."""
    background = examples.background
    span = max(examples.same - background, MIN_SPAN)
    both = np.concatenate([examples.positive, examples.negative]).T  # (D, P + N)
    positives = len(examples.positive)
    scores = np.empty(len(descriptors), np.float32)
    for start in range(0, len(descriptors), CHUNK):
        chunk = np.asarray(descriptors[start : start + CHUNK], np.float32)
        cosines = chunk @ both
        nearest = cosines[:, :positives].max(axis=1)
        negative = cosines[:, positives:].max(axis=1) if len(examples.negative) else np.full(len(chunk), background)
        typical = np.clip((nearest - background) / span, 0, 1)
        near, far = SOFTENING + np.maximum(1 - nearest, 0), SOFTENING + np.maximum(1 - negative, 0)
        scores[start : start + CHUNK] = typical * far / (near + far)
    return scores
