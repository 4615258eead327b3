"""The score of a mask: the IoU that it is expected to have."""

import math

import numpy as np
from numpy.typing import NDArray

from sam_model.classical.colour_words import Floats

# The logit of the score is a sum of these times the inputs of `score`. Fitted to the measured IoU of the masks after a
# box and after 1, 2, 3, 5 and 10 clicks on 148 photographs.
CONSTANT = -0.40
TRUST = 0.60  # of the logit of the expected IoU
BY_CLICKS = 0.27  # of the log of the number of clicks
BY_BOX = 0.96  # of a box


def expected_iou(chosen: NDArray[np.bool_], probability: Floats, area: Floats) -> float:
    """Return the expected IoU of the chosen regions (n,), if probabilities (n,) are right; `area` (n,) is theirs."""
    inter = float((area * probability)[chosen].sum())
    union = float(area[chosen].sum() + (area * probability)[~chosen].sum())
    return inter / union if union else 0.0


def score(expected: float, clicks: int, has_box: bool) -> float:
    """Return the calibrated score, 0..1, of a mask with an expected IoU after some clicks."""
    likely = float(np.clip(expected, 0.02, 0.98))
    logit = CONSTANT + TRUST * math.log(likely / (1 - likely)) + BY_CLICKS * math.log1p(clicks) + BY_BOX * has_box
    return 1 / (1 + math.exp(-logit))
