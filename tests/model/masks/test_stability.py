import math

import numpy as np
import pytest
from numpy.typing import NDArray

from sam_model.masks.stability import upscaled_mask_with_stability
from sam_model.masks.upscaling import Axis
from sam_model.types import Mask

OFFSET = 1.0

pytestmark = pytest.mark.usefixtures("loops_of_upscaling")


def measured(logits: NDArray[np.float32], factor: int = 1) -> tuple[Mask, float]:
    """Return mask and stability score of logits, at `factor` times their size."""
    rows, columns = (Axis(side, side, 0, side, factor * side) for side in logits.shape)
    part, region, score = upscaled_mask_with_stability(logits, rows, columns, 0.0, OFFSET)
    mask = np.zeros((rows.full, columns.full), dtype=bool)
    mask[region] = part
    return mask, score


def test_stability_is_the_smaller_cut_over_the_larger() -> None:
    logits = np.array([[5, 5, 5, 0.5], [5, -0.5, -5, -5], [-5, -5, -5, -5]], dtype=np.float32)

    mask, score = measured(logits)

    assert np.array_equal(mask, logits > 0)
    assert score == np.float32(4) / np.float32(6)


def test_logits_at_a_cut_are_outside_of_it() -> None:
    assert measured(np.array([[1.0, 2.0, 0.0], [-9, -9, -9], [-9, -9, -9]], dtype=np.float32))[1] == np.float32(
        1
    ) / np.float32(3)


def test_nothing_at_all_has_no_stability() -> None:
    mask, score = measured(np.full((3, 3), -9, dtype=np.float32))

    assert math.isnan(score)
    assert not mask.any()


def test_it_is_that_of_the_whole_image() -> None:
    y, x = np.mgrid[0:40, 0:50]
    logits = (9 - np.hypot(y - 12, x - 40)).astype(np.float32)  # the region is a part of the image

    mask, score = measured(logits, factor=5)

    y, x = (np.mgrid[0:200, 0:250] + 0.5) / 5 - 0.5
    inner, middle, outer = (np.hypot(y - 12, x - 40) < radius for radius in (8, 9, 10))
    assert abs(score - inner.sum() / outer.sum()) < 0.01
    assert (mask & middle).sum() / (mask | middle).sum() > 0.99
