"""Calibrations: maps from a model's score to the probability that a person keeps the region.

`label-studio-sam evaluate --calibrate` fits one from the reviewed tasks of a run and stores it beside the run.
"""

import json
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from sam_backend.errors import BackendError
from sam_model.annotation.atomic_file import write_atomically

VERSION = 1  # of the file format
SUFFIX = ".calibration.json"  # of the file beside the run


class CalibrationError(BackendError):
    """A calibration is missing, damaged, or of other models."""

    status = 409


@dataclass(frozen=True)
class ScoreMap:
    """A monotone map: probabilities at some scores in ascending order, linear in between."""

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]
    regions: int  # from which it was fitted

    def probability(self, score: float) -> float:
        """Return the probability for a score; beyond the ends, that of the nearest end."""
        right = bisect_right(self.scores, score)
        if right == 0 or right == len(self.scores):
            return self.probabilities[max(right - 1, 0)]
        x0, x1 = self.scores[right - 1 : right + 1]
        y0, y1 = self.probabilities[right - 1 : right + 1]
        return y0 + (y1 - y0) * (score - x0) / (x1 - x0)


@dataclass(frozen=True)
class Calibration:
    """The maps of one run's models; `other` is for labels without a map of their own."""

    run_id: str
    model_version: str  # of the run's predictions
    accept_iou: float  # a region counts as kept from this IoU with the final one
    labels: Mapping[str, ScoreMap]
    other: ScoreMap

    @property
    def models(self) -> str:
        """The names of detector and segmenter."""
        return models_of(self.model_version)

    def probability(self, label: str, score: float) -> float:
        """Return the probability that a person keeps a region with this label and score."""
        return self.labels.get(label, self.other).probability(score)

    def save(self, path: Path) -> None:
        """Write the calibration as JSON."""
        write_atomically(path, json.dumps({"version": VERSION, **asdict(self)}, indent=1).encode())


def calibration_of(run_id: str | None, folder: Path) -> Calibration | None:
    """Return the calibration that a run's configuration names, from the folder of the runs; None for None.

    Raises:
        CalibrationError: as `load_calibration`.
    """
    return None if run_id is None else load_calibration(folder / f"{run_id}{SUFFIX}")


def models_of(model_version: str) -> str:
    """Return `detector+segmenter` of a model_version such as `label-studio-sam detector+segmenter 01234567`."""
    return model_version.partition(" ")[2].rpartition(" ")[0] or model_version


def load_calibration(path: Path) -> Calibration:
    """Read a calibration.

    Raises:
        CalibrationError: the file is missing, damaged, or of another version of this program.
    """
    try:
        found = json.loads(path.read_bytes())
        if found["version"] != VERSION:
            raise CalibrationError(
                f"the calibration {path.name} has version {found['version']}, this program reads {VERSION}; fit it"
                " again with `label-studio-sam evaluate --calibrate`"
            )
        maps = {label: _score_map(one) for label, one in found["labels"].items()}
        return Calibration(
            str(found["run_id"]),
            str(found["model_version"]),
            float(found["accept_iou"]),
            maps,
            _score_map(found["other"]),
        )
    except FileNotFoundError:
        raise CalibrationError(
            f"there is no calibration {path.name}; make it with `label-studio-sam evaluate --calibrate`"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CalibrationError(f"the calibration {path.name} cannot be read: {error}") from error


def _score_map(found: Mapping[str, list[float]]) -> ScoreMap:
    scores, probabilities = tuple(map(float, found["scores"])), tuple(map(float, found["probabilities"]))
    if not scores or len(scores) != len(probabilities) or list(scores) != sorted(scores):
        raise ValueError("a map has no ascending scores")
    return ScoreMap(scores, probabilities, int(found["regions"]))  # type: ignore[call-overload]
