"""Numbers of one label, or of all: what became of the predictions, precision and recall, masks, scores, advice."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sam_backend.evaluation.average_precision import average_precision, mean_average_precision
from sam_backend.evaluation.calibration_fit import Reliability, reliability
from sam_backend.evaluation.intervals import Share, share
from sam_backend.evaluation.matching import (
    ACCEPTED,
    CORRECTED,
    DELETED,
    RELABELED,
    PredictedRegion,
    TaskComparison,
)
from sam_backend.evaluation.thresholds import ThresholdAdvice, advise

OUTCOMES = (ACCEPTED, CORRECTED, RELABELED, DELETED)
CURVE = tuple(round(0.05 * step, 2) for step in range(20))  # score thresholds of the curve


@dataclass(frozen=True)
class CurvePoint:
    """Precision and recall of the regions with at least a score."""

    threshold: float
    precision: float | None
    recall: float | None
    regions: int


@dataclass(frozen=True)
class LabelReport:
    """The numbers of one label; of all labels if the label is None."""

    label: str | None
    outcomes: dict[str, int]  # of the predicted regions
    added: int  # annotated objects without a predicted partner
    annotated: int
    accepted: Share  # unchanged, of the predicted regions
    precision: Share  # kept with the same label and enough IoU, of the predicted regions
    recall: Share  # of the annotated objects
    corrected_iou: float | None  # mean of the corrected regions
    mask_iou: float | None  # mean of all regions with a partner
    boundary_iou: float | None
    average_precision: float | None  # COCO's
    curve: tuple[CurvePoint, ...]
    reliability: Reliability
    advice: ThresholdAdvice

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as JSON."""
        return {
            "label": self.label,
            "predicted": sum(self.outcomes.values()),
            **self.outcomes,
            "added": self.added,
            "annotated": self.annotated,
            "accepted_share": self.accepted.to_json(),
            "precision": self.precision.to_json(),
            "recall": self.recall.to_json(),
            "corrected_iou": _rounded(self.corrected_iou),
            "mask_iou": _rounded(self.mask_iou),
            "boundary_iou": _rounded(self.boundary_iou),
            "average_precision": _rounded(self.average_precision),
            "curve": [
                {
                    "threshold": point.threshold,
                    "precision": _rounded(point.precision),
                    "recall": _rounded(point.recall),
                    "regions": point.regions,
                }
                for point in self.curve
            ],
            "reliability": self.reliability.to_json(),
            "threshold_advice": self.advice.to_json(),
        }


def label_report(
    tasks: Sequence[TaskComparison], label: str | None, accept_iou: float, precision: float
) -> LabelReport:
    """Return the numbers of a label, or of all labels."""
    regions = [one for task in tasks for one in task.predicted if label in (None, one.label)]
    annotated = [
        (task.task, name) for task in tasks for name in task.annotated if label in (None, name)
    ]  # fmt: skip
    good = [one.is_good(accept_iou) for one in regions]
    owners = [one.task for one in regions]
    counts = Counter(one.outcome for one in regions)
    partners = [one for one in regions if one.outcome != DELETED]
    images = [image for task in tasks for image in task.by_label if label in (None, image.label)]
    return LabelReport(
        label=label,
        outcomes={outcome: counts[outcome] for outcome in OUTCOMES},
        added=sum(1 for task in tasks for name in task.added if label in (None, name)),
        annotated=len(annotated),
        accepted=share([one.outcome == ACCEPTED for one in regions], owners),
        precision=share(good, owners),
        recall=_recall(tasks, label, accept_iou),
        corrected_iou=_mean([one.iou for one in regions if one.outcome == CORRECTED]),
        mask_iou=_mean([one.iou for one in partners]),
        boundary_iou=_mean([one.boundary_iou for one in partners]),
        average_precision=mean_average_precision(images) if label is None else average_precision(images),
        curve=_curve(regions, good, len(annotated)),
        reliability=reliability([one.score for one in regions], good),
        advice=advise([one.score for one in regions], good, owners, precision),
    )


def _recall(tasks: Sequence[TaskComparison], label: str | None, accept_iou: float) -> Share:
    found, owners = [], []
    for task in tasks:
        annotated = sum(1 for name in task.annotated if label in (None, name))
        good = sum(1 for one in task.predicted if label in (None, one.label) and one.is_good(accept_iou))
        found += [index < good for index in range(annotated)]
        owners += [task.task] * annotated
    return share(found, owners)


def _curve(regions: Sequence[PredictedRegion], good: Sequence[bool], annotated: int) -> tuple[CurvePoint, ...]:
    points = []
    for threshold in CURVE:
        kept = [is_good for one, is_good in zip(regions, good, strict=True) if one.score >= threshold]
        precision = sum(kept) / len(kept) if kept else None
        recall = sum(kept) / annotated if annotated else None
        points.append(CurvePoint(threshold, precision, recall, len(kept)))
    return tuple(points)


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
