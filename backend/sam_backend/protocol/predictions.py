"""A prediction, as it goes back to Label Studio.

Source: label-studio 1.23.2, ml/models.py (which keys are read) and label_studio_sdk 2.1.2,
label_interface/interface.py (what an import accepts: score is a number from 0 to 1, or the item is dropped silently).
"""

import math
from dataclasses import dataclass
from typing import Any

ResultJson = dict[str, Any]  # one entry of `result`; its RLE may be a uint8 array, which orjson writes as a list


def score_for_label_studio(score: float) -> float:
    """A finite score from 0 to 1: SAM's IoU head answers a little above 1 at times."""
    return round(min(max(score, 0.0), 1.0), 4) if math.isfinite(score) else 0.0


@dataclass(frozen=True)
class Prediction:
    """The regions for one task; without regions it is still a prediction, which an interactive caller must get."""

    model_version: str
    result: tuple[ResultJson, ...] = ()
    score: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The item of `results`."""
        return {
            "result": list(self.result),
            "score": score_for_label_studio(self.score),
            "model_version": self.model_version,
        }
