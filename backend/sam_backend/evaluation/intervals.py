"""Confidence intervals of shares, with fewer effective samples where regions of one task go together.

Source: Clopper and Pearson, Biometrika 1934; Kish's design effect for samples in clusters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
WIDE = 0.3  # an interval that is wider says too little


@dataclass(frozen=True)
class Share:
    """A share with its interval; `is_too_few` if the interval is too wide to rely on."""

    successes: int
    total: int
    low: float
    high: float

    @property
    def value(self) -> float | None:
        """The share; None if there is nothing to count."""
        return self.successes / self.total if self.total else None

    @property
    def is_too_few(self) -> bool:
        """True if the interval is wider than `WIDE`."""
        return self.high - self.low > WIDE

    def to_json(self) -> dict[str, float | int | bool | None]:
        """Return the share as JSON."""
        return {
            "value": None if self.value is None else round(self.value, 4),
            "successes": self.successes,
            "total": self.total,
            "low": round(self.low, 4),
            "high": round(self.high, 4),
            "too_few": self.is_too_few,
        }


def share(is_success: Sequence[bool], tasks: Sequence[int]) -> Share:
    """Return the share of successes with its two-sided interval; `tasks` are the clusters of the samples."""
    successes, total = sum(is_success), len(is_success)
    effect = design_effect(is_success, tasks)
    low = lower_bound(successes / effect, total / effect, (1 - CONFIDENCE) / 2)
    high = 1 - lower_bound((total - successes) / effect, total / effect, (1 - CONFIDENCE) / 2)
    return Share(successes, total, low, high)


def lower_bound(successes: float, total: float, error: float) -> float:
    """Return the one-sided lower bound of a share, which is too high with probability `error` at most."""
    from scipy.stats import beta  # a quarter of a second: at the first evaluation, not at the start of a service

    return float(beta.ppf(error, successes, total - successes + 1)) if successes > 0 else 0.0


def design_effect(is_success: Sequence[bool], tasks: Sequence[int]) -> float:
    """Return by how much the variance of the share exceeds that of independent samples; at least 1."""
    total = len(is_success)
    if total < 2 or len(set(tasks)) == total:
        return 1.0
    values = np.array(is_success, float)
    mean = values.mean()
    if mean in (0.0, 1.0):
        return 1.0
    _, cluster = np.unique(np.array(tasks), return_inverse=True)
    residuals = np.bincount(cluster, weights=values - mean)
    number = len(residuals)
    if number < 2:
        return float(total)
    variance = number / (number - 1) * float((residuals**2).sum()) / total**2
    return max(1.0, float(variance / (mean * (1 - mean) / total)))
