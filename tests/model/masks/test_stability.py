import math

import numpy as np

from sam_model.masks.stability import stability_score


def test_stability_is_the_smaller_cut_over_the_larger() -> None:
    logits = np.array([[5, 5, 5, 0.5], [5, -0.5, -5, -5]], dtype=np.float32)

    assert stability_score(logits, 0.0, 1.0) == np.float32(4) / np.float32(6)


def test_logits_at_a_cut_are_outside_of_it() -> None:
    assert stability_score(np.array([[1.0, 2.0, 0.0]], dtype=np.float32), 0.0, 1.0) == np.float32(1) / np.float32(3)


def test_nothing_at_all_has_no_stability() -> None:
    assert math.isnan(stability_score(np.full((2, 2), -9, dtype=np.float32), 0.0, 1.0))
