import numpy as np
import pytest

from sam_testing.trend import trend

HOURS = np.arange(60) / 120  # 30 minutes in steps of 30 s
BAR = 1.0  # MB/h


def noise(size: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.05, size)


def test_a_leak_above_the_bar_is_found_under_noise_and_outliers() -> None:
    megabytes = 300 + 3 * HOURS + noise(60)
    megabytes[::7] += 40  # a request under way

    found = trend(HOURS, megabytes)

    assert found.verdict(BAR) == "grows"
    assert found.slope == pytest.approx(3, abs=0.5)
    assert found.low < 3 < found.high


def test_noise_without_a_leak_is_flat() -> None:
    assert trend(HOURS, 300 + noise(60)).verdict(BAR) == "flat"


def test_a_short_or_wild_series_is_undecided_and_not_flat() -> None:
    wild = 300 + 100 * noise(60)

    assert trend(HOURS, wild).verdict(BAR) == "undecided"


def test_steps_that_depend_on_each_other_widen_the_interval() -> None:
    steps = np.cumsum(noise(60))  # a random walk
    shuffled = np.random.default_rng(2).permutation(steps)

    dependent, independent = trend(HOURS, steps), trend(HOURS, shuffled)

    assert dependent.high - dependent.low > independent.high - independent.low


def test_too_few_points_are_refused() -> None:
    with pytest.raises(ValueError, match="five points"):
        trend([0, 1], [0, 1])
