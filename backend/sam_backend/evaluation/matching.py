"""Matching of predicted with annotated objects: the assignment with the largest sum of IoUs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam_backend.evaluation.mask_similarity import boundary_iou
from sam_backend.shapes.labeled_objects import LabeledObject, mask_iou

MIN_IOU = 0.1  # objects that overlap less are not the same
SAME_LABEL_BONUS = 0.05  # of two equally good partners, the one with the same label is chosen
UNCHANGED_IOU = 0.99  # editors encode a mask again when it is saved

ACCEPTED, CORRECTED, RELABELED, DELETED = "accepted", "corrected", "relabeled", "deleted"  # outcomes of a prediction


@dataclass(frozen=True)
class PredictedRegion:
    """A predicted region and what became of it."""

    task: int
    region_id: str
    label: str
    score: float
    outcome: str  # accepted unchanged, corrected, relabeled or deleted
    iou: float  # with its partner in the annotation; 0 if it was deleted
    boundary_iou: float
    area_share: float  # of the image

    def is_good(self, accept_iou: float) -> bool:
        """Return whether the annotation has the region with the same label and at least this IoU."""
        return self.outcome in (ACCEPTED, CORRECTED) and self.iou >= accept_iou


@dataclass(frozen=True, eq=False)
class LabelIous:
    """The IoUs (predictions, annotated objects) of one label on one image, for the average precision."""

    label: str
    scores: NDArray[np.float64]
    ious: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TaskComparison:
    """A task's prediction compared with its annotation."""

    task: int
    predicted: tuple[PredictedRegion, ...]
    annotated: tuple[str, ...]  # the label of each annotated object
    added: tuple[str, ...]  # the label of each annotated object that has no predicted partner
    by_label: tuple[LabelIous, ...]
    lead_time_s: float | None  # that the person spent on the task
    unreadable: int  # regions without a readable mask


def compare(
    task: int,
    predicted: Sequence[LabeledObject],
    annotated: Sequence[LabeledObject],
    lead_time_s: float | None = None,
    unreadable: int = 0,
) -> TaskComparison:
    """Match the objects of a task page by page, and say what became of each prediction."""
    regions: list[PredictedRegion] = []
    added: list[str] = []
    by_label: list[LabelIous] = []
    for page in sorted({one.page for one in (*predicted, *annotated)}):
        before = [one for one in predicted if one.page == page]
        after = [one for one in annotated if one.page == page]
        ious = np.array([[mask_iou(one, other) for other in after] for one in before]).reshape(len(before), len(after))
        partner = _assigned(before, after, ious)
        for index, one in enumerate(before):
            other = partner.get(index)
            iou = 0.0 if other is None else float(ious[index, other])
            regions.append(_region(task, one, None if other is None else after[other], iou))
        taken = set(partner.values())
        added += [one.label for index, one in enumerate(after) if index not in taken]
        by_label += _by_label(before, after, ious)
    labels = tuple(one.label for one in annotated)
    return TaskComparison(task, tuple(regions), labels, tuple(added), tuple(by_label), lead_time_s, unreadable)


def _assigned(
    before: Sequence[LabeledObject], after: Sequence[LabeledObject], ious: NDArray[np.float64]
) -> dict[int, int]:
    from scipy.optimize import linear_sum_assignment  # at the first evaluation, not at the start of a service

    same = np.array([[one.label == other.label for other in after] for one in before]).reshape(ious.shape)
    worth = np.where(ious >= MIN_IOU, ious + SAME_LABEL_BONUS * same, 0.0)
    rows, columns = linear_sum_assignment(worth, maximize=True)
    return {int(row): int(column) for row, column in zip(rows, columns, strict=True) if ious[row, column] >= MIN_IOU}


def _region(task: int, one: LabeledObject, other: LabeledObject | None, iou: float) -> PredictedRegion:
    if other is None:
        outcome, boundary = DELETED, 0.0
    else:
        boundary = 1.0 if iou == 1 else boundary_iou(one, other)
        outcome = RELABELED if one.label != other.label else ACCEPTED if iou >= UNCHANGED_IOU else CORRECTED
    height, width = one.mask.size
    share = one.mask.area / (height * width)
    return PredictedRegion(task, one.region_id, one.label, one.score or 0.0, outcome, iou, boundary, share)


def _by_label(
    before: Sequence[LabeledObject], after: Sequence[LabeledObject], ious: NDArray[np.float64]
) -> list[LabelIous]:
    found = []
    for label in dict.fromkeys(one.label for one in (*before, *after)):
        rows = [index for index, one in enumerate(before) if one.label == label]
        columns = [index for index, one in enumerate(after) if one.label == label]
        scores = np.array([before[row].score or 0.0 for row in rows])
        found.append(LabelIous(label, scores, ious[np.ix_(rows, columns)]))
    return found
