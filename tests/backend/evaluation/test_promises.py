"""What evaluation promises, on predictors with known behaviour: precision, calibration error, intervals."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sam_backend.evaluation.calibration_fit import TooFewRegionsError, fit_calibration, reliability
from sam_backend.evaluation.intervals import design_effect, share
from sam_backend.evaluation.matching import ACCEPTED, DELETED, PredictedRegion
from sam_backend.evaluation.thresholds import advise
from sam_backend.preannotation.calibration import CalibrationError, load_calibration

REPETITIONS = 100


def probability(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how often people keep a region of the planted predictor: it is overconfident."""
    found: NDArray[np.float64] = 0.1 + 0.895 / (1 + np.exp(-20 * (scores - 0.68)))
    return found


def true_precision(threshold: float) -> float:
    scores = np.random.default_rng(999).beta(5, 2, 400_000)
    return float(probability(scores[scores >= threshold]).mean())


def sample(seed: int, regions: int) -> tuple[list[float], list[bool], list[int]]:
    random = np.random.default_rng(seed)
    scores = random.beta(5, 2, regions)
    good = random.random(regions) < probability(scores)
    return scores.tolist(), good.tolist(), (np.arange(regions) // 4).tolist()


def regions_of(seed: int, number: int) -> list[PredictedRegion]:
    return [
        PredictedRegion(task, f"r{index}", "Cat", score, ACCEPTED if good else DELETED, 1.0 if good else 0.0, 1.0, 0.1)
        for index, (score, good, task) in enumerate(zip(*sample(seed, number), strict=True))
    ]


def test_a_promised_precision_is_kept_in_95_of_100_repetitions() -> None:
    kept = 0
    given = []
    for seed in range(REPETITIONS):
        advice = advise(*sample(seed, 1600), precision=0.95)
        kept += advice.threshold is None or true_precision(advice.threshold) >= 0.95
        if advice.threshold is not None:
            given.append(advice.kept / advice.regions)

    assert kept >= 95, kept
    assert len(given) >= 70  # it is no promise to give no advice
    assert np.mean(given) > 0.25


def test_a_promised_precision_is_kept_where_every_threshold_is_just_too_bad() -> None:
    """The hardest case: the precision is .945 at every threshold, so each advice would be wrong."""
    wrong = 0
    for seed in range(400):
        random = np.random.default_rng(seed)
        good = (random.random(800) < 0.945).tolist()
        wrong += advise(random.random(800).tolist(), good, list(range(800))).threshold is not None

    assert wrong / 400 <= 0.05, wrong


def test_regions_that_go_together_count_as_fewer() -> None:
    """Whole tasks are good or bad: 100 tasks with 8 regions each are 100 samples, not 800."""
    good = [bool(task % 10) for task in range(100) for _ in range(8)]
    tasks = [task for task in range(100) for _ in range(8)]

    assert design_effect(good, tasks) == pytest.approx(8, rel=0.05)
    together, apart = share(good, tasks), share(good, list(range(800)))
    assert together.high - together.low > 2.5 * (apart.high - apart.low)


def test_few_regions_are_too_few() -> None:
    assert share([True] * 5, list(range(5))).is_too_few
    assert not share([True] * 95 + [False] * 5, list(range(100))).is_too_few
    advice = advise([0.9] * 40, [True] * 40, list(range(40)))
    assert (advice.threshold, advice.needed) == (None, 72)
    with pytest.raises(TooFewRegionsError, match="20 reviewed regions, 50 are needed"):
        fit_calibration(regions_of(0, 20), "run", "version", 0.85)


def test_calibration_after_100_tasks_has_an_error_of_05_at_most(tmp_path: Path) -> None:
    """100 tasks with 4 regions each are fitted; fresh regions of the same predictor are judged."""
    fresh = regions_of(12345, 20_000)
    good = [one.is_good(0.85) for one in fresh]
    before = reliability([one.score for one in fresh], good).error
    errors = []
    for seed in range(REPETITIONS):
        fit_calibration(regions_of(seed, 400), "run", "label-studio-sam a+b 1", 0.85).save(tmp_path / "c.json")
        calibration = load_calibration(tmp_path / "c.json")
        errors.append(reliability([calibration.probability("Cat", one.score) for one in fresh], good).error)

    assert before > 0.09  # the model's own scores
    assert np.median(errors) <= 0.04
    # the share of good regions among 400 varies by .02 already (one standard deviation)
    assert sum(error <= 0.05 for error in errors) >= 90, sorted(errors)[-15:]


def test_a_calibration_is_monotone_and_never_certain() -> None:
    calibration = fit_calibration(regions_of(1, 400), "run", "label-studio-sam a+b 1", 0.85)

    found = [calibration.probability("Cat", score) for score in np.linspace(0, 1, 101)]

    assert found == sorted(found)
    assert found[0] > 0
    assert found[-1] < 1
    assert calibration.models == "a+b"


def test_a_damaged_calibration_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(
        '{"version": 1, "labels": {}, "other": 3, "run_id": 1, "model_version": "", "accept_iou": 1}'
    )
    with pytest.raises(CalibrationError, match="cannot be read"):
        load_calibration(tmp_path / "c.json")
    with pytest.raises(CalibrationError, match="evaluate --calibrate"):
        load_calibration(tmp_path / "missing.json")
