"""Fit of a calibration, and how well scores are calibrated.

Source: Zadrozny and Elkan, KDD 2002 (isotonic regression); Breiman, 1996
(bagging); Guo et al., ICML 2017 (expected calibration error).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam_backend.errors import BackendError
from sam_backend.evaluation.matching import PredictedRegion
from sam_backend.preannotation.calibration import Calibration, ScoreMap

BINS = 10
GRID = 101  # points of a map
RESAMPLES = 40
MIN_REGIONS = 50  # of a label with a map of its own; others share one


class TooFewRegionsError(BackendError):
    """There are too few reviewed regions to fit a calibration."""

    status = 409


@dataclass(frozen=True)
class Reliability:
    """Mean score and share of good regions in bins of the score, and the expected calibration error."""

    scores: tuple[float, ...]
    shares: tuple[float, ...]
    counts: tuple[int, ...]
    error: float

    def to_json(self) -> dict[str, object]:
        """Return the diagram as JSON."""
        bins = [
            {"score": round(score, 4), "share": round(part, 4), "regions": count}
            for score, part, count in zip(self.scores, self.shares, self.counts, strict=True)
        ]
        return {"ece": round(self.error, 4), "bins": bins}


def reliability(scores: Sequence[float], is_good: Sequence[bool]) -> Reliability:
    """Compare scores with outcomes in `BINS` bins of equal width."""
    values, good = np.array(scores, float), np.array(is_good, float)
    bins = np.minimum((values * BINS).astype(int), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    filled = np.flatnonzero(counts)
    means = np.bincount(bins, values, BINS)[filled] / counts[filled]
    shares = np.bincount(bins, good, BINS)[filled] / counts[filled]
    error = float((np.abs(means - shares) * counts[filled]).sum() / max(1, len(values)))
    return Reliability(
        tuple(means.tolist()), tuple(shares.tolist()), tuple(int(count) for count in counts[filled]), error
    )


def fit_calibration(
    regions: Sequence[PredictedRegion], run_id: str, model_version: str, accept_iou: float
) -> Calibration:
    """Return the map from score to the probability that a person keeps a region, per label and for all others.

    Raises:
        TooFewRegionsError: fewer than `MIN_REGIONS` regions were reviewed.
    """
    if len(regions) < MIN_REGIONS:
        raise TooFewRegionsError(
            f"could not fit a calibration: {len(regions)} reviewed regions, {MIN_REGIONS} are needed; review more tasks"
        )
    labels = sorted({one.label for one in regions})
    maps = {}
    for label in labels:
        own = [one for one in regions if one.label == label]
        if len(own) >= MIN_REGIONS:
            maps[label] = _map(own, accept_iou)
    return Calibration(run_id, model_version, accept_iou, maps, _map(regions, accept_iou))


def _map(regions: Sequence[PredictedRegion], accept_iou: float) -> ScoreMap:
    """Return the mean of isotonic maps that are fitted to resamples of the tasks: few samples make one map jump."""
    from sklearn.isotonic import IsotonicRegression

    scores = np.array([one.score for one in regions])
    good = np.array([one.is_good(accept_iou) for one in regions], float)
    _, task = np.unique([one.task for one in regions], return_inverse=True)
    margin = 1 / (len(regions) + 2)  # never certain
    low, high = float(scores.min()), float(scores.max())
    grid: NDArray[np.float64] = np.unique(np.linspace(low, high, GRID))
    random = np.random.default_rng(0)
    total = np.zeros(len(grid))
    for _ in range(RESAMPLES):
        weight = random.multinomial(task.max() + 1, np.full(task.max() + 1, 1 / (task.max() + 1)))[task]
        fitted = IsotonicRegression(y_min=margin, y_max=1 - margin, out_of_bounds="clip")
        kept = weight > 0
        total += fitted.fit(scores[kept], good[kept], sample_weight=weight[kept]).predict(grid)
    probabilities = np.maximum.accumulate(total / RESAMPLES)
    return ScoreMap(
        tuple(round(float(value), 6) for value in grid),
        tuple(round(float(value), 6) for value in probabilities),
        len(regions),
    )
