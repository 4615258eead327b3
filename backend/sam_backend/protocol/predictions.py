"""A prediction, as it is sent to Label Studio.

Source: label-studio 1.23.2, ml/models.py (the keys that are read) and label_studio_sdk 2.1.2,
label_interface/interface.py (imports drop a prediction without an error if its score is not a number from 0 to 1).
"""

import math
from dataclasses import dataclass
from typing import Any

ResultJson = dict[str, Any]  # one item of `result`; its RLE may be a uint8 array, which orjson writes as a list


def score_for_label_studio(score: float) -> float:
    """Return a finite score from 0 to 1; the scores of SAM's IoU head may exceed 1."""
    return round(min(max(score, 0.0), 1.0), 4) if math.isfinite(score) else 0.0


@dataclass(frozen=True)
class Prediction:
    """The regions for one task. A prediction may have no regions: the answer to a click must contain one."""

    model_version: str
    result: tuple[ResultJson, ...] = ()
    score: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the item of `results`."""
        return {
            "result": list(self.result),
            "score": score_for_label_studio(self.score),
            "model_version": self.model_version,
        }
