"""The slope of a noisy series of measurements, with a confidence interval.

Theil-Sen: the median of the slopes of all pairs of points, which a quarter of outliers does not move. Its interval
comes from the variance of Kendall's S, inflated by the autocorrelation of the residuals, since measurements that
follow each other closely are not independent.
Source: Sen, Estimates of the regression coefficient based on Kendall's tau, JASA 63 (1968); Hamed and Rao, A modified
Mann-Kendall trend test for autocorrelated data, J. Hydrology 204 (1998), with the lag-1 coefficient only.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Z_95 = 1.959964  # standard deviations of a two-sided interval of 95 percent


@dataclass(frozen=True)
class Trend:
    """A slope with its confidence interval, in units of the values per unit of the times."""

    slope: float
    low: float  # with `high` the interval of 95 percent
    high: float

    def verdict(self, bar: float) -> str:
        """Return "grows" (slope at or above the bar, surely above 0), "flat" (surely below the bar) or "undecided"."""
        if self.slope >= bar and self.low > 0:
            return "grows"
        return "flat" if self.high < bar else "undecided"


def trend(times: Sequence[float], values: Sequence[float]) -> Trend:
    """Estimate the slope of `values` over `times`, which rise.

    Raises:
        ValueError: fewer than five points, which allow no interval.
    """
    x, y = np.asarray(times, np.float64), np.asarray(values, np.float64)
    if x.size < 5:
        raise ValueError(f"a trend needs five points or more, not {x.size}")
    first, second = np.triu_indices(x.size, 1)
    slopes = np.sort((y[second] - y[first]) / (x[second] - x[first]))
    slope = float(np.median(slopes))
    rest = y - slope * x
    rest -= rest.mean()
    power = float(rest @ rest)
    correlation = max(0.0, float(rest[1:] @ rest[:-1]) / power) if power else 0.0
    inflation = (1 + correlation) / max(1 - correlation, 1e-3)
    n = x.size
    width = Z_95 * math.sqrt(n * (n - 1) * (2 * n + 5) / 18 * inflation)
    low = max(0, math.floor((slopes.size - width) / 2))
    high = min(slopes.size - 1, math.ceil((slopes.size + width) / 2))
    return Trend(slope, float(slopes[low]), float(slopes[high]))
