"""Advice on score thresholds: the lowest one that keeps a chosen precision, with a stated confidence.

Candidates are tested one after the other from the highest threshold down, each at the full error level, until one
fails: fixed-sequence testing, which needs no correction for the number of candidates.

Source: Angelopoulos et al., "Learn then Test", arXiv:2110.01052, section 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sam_backend.evaluation.intervals import design_effect, lower_bound

ERROR = 0.025  # probability that the advice does not keep its promise
FIRST_REGIONS = 0.1  # share of the regions above the first candidate
STEPS = 18  # candidates


@dataclass(frozen=True)
class ThresholdAdvice:
    """The lowest threshold that keeps a precision; None if no threshold does, or there are too few regions."""

    precision: float  # that is promised
    threshold: float | None
    bound: float  # lower bound of the precision at the threshold; 0 without one
    kept: int  # regions at or above the threshold, of `regions`
    regions: int
    needed: int  # regions above a threshold that the promise takes if all are good

    def to_json(self) -> dict[str, float | int | None]:
        """Return the advice as JSON."""
        return {
            "precision": self.precision,
            "threshold": self.threshold,
            "bound": round(self.bound, 4),
            "kept": self.kept,
            "regions": self.regions,
            "needed": self.needed,
            "confidence": 1 - ERROR,
        }


def advise(
    scores: Sequence[float], is_good: Sequence[bool], tasks: Sequence[int], precision: float = 0.95
) -> ThresholdAdvice:
    """Return the threshold for a label from the scores of its regions and what people made of them."""
    needed = int(np.ceil(np.log(ERROR) / np.log(precision)))
    order = np.argsort(-np.array(scores, float), kind="stable")
    sorted_scores, good = np.array(scores, float)[order], np.array(is_good, bool)[order]
    clusters = np.array(tasks)[order]
    chosen = ThresholdAdvice(precision, None, 0.0, 0, len(scores), needed)
    for count in _counts(len(scores), needed):
        threshold = float(sorted_scores[count - 1])
        count = int(np.searchsorted(-sorted_scores, -threshold, side="right"))  # all with an equal score
        some = good[:count].tolist()
        effect = design_effect(some, clusters[:count].tolist())
        bound = lower_bound(sum(some) / effect, count / effect, ERROR)
        if bound < precision:
            break
        rounded = float(np.floor(threshold * 10_000) / 10_000)
        chosen = ThresholdAdvice(precision, rounded, bound, count, len(scores), needed)
    return chosen


def _counts(total: int, needed: int) -> list[int]:
    """Return the numbers of regions above the candidates; they depend on nothing that is tested."""
    first = max(2 * needed, int(FIRST_REGIONS * total))
    if total < first:
        return [total] if total >= needed else []
    return sorted({round(count) for count in np.linspace(first, total, STEPS)})
