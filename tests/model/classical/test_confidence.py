"""The score of a mask."""

import numpy as np
import pytest

from sam_model.classical.confidence import expected_iou, score


def test_the_expected_iou_is_the_certain_area_over_all_possible_area() -> None:
    probability, area = np.array([1.0, 0.8, 0.25, 0.0]), np.array([0.1, 0.2, 0.4, 0.3])

    expected = expected_iou(probability > 0.5, probability, area)

    assert expected == pytest.approx((0.1 + 0.8 * 0.2) / (0.1 + 0.2 + 0.25 * 0.4))


def test_nothing_selected_has_no_expected_iou() -> None:
    assert expected_iou(np.zeros(3, bool), np.full(3, 0.4), np.full(3, 1 / 3)) == 0


@pytest.mark.parametrize("has_box", [False, True])
def test_the_score_increases_with_the_expected_iou_and_stays_between_0_and_1(has_box: bool) -> None:
    scores = [score(expected, 3, has_box) for expected in (0.0, 0.3, 0.6, 0.9, 1.0)]

    assert scores == sorted(scores)
    assert scores[0] > 0
    assert scores[-1] < 1
