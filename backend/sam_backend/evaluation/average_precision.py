"""COCO's average precision from the IoUs of each image.

Source: cocoapi PythonAPI/pycocotools/cocoeval.py @ 8c9bcc3 (Simplified BSD), without crowds and areas.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sam_backend.evaluation.matching import LabelIous

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
MAX_DETECTIONS = 100  # of one label on one image, the highest-scoring ones


def average_precision(images: Sequence[LabelIous]) -> float | None:
    """Return the AP of one label over the IoU thresholds .50 to .95; None if nothing is annotated."""
    positives = sum(image.ious.shape[1] for image in images)
    if not positives:
        return None
    sorted_images = [_by_score(image) for image in images]
    scores = np.concatenate([scores for scores, _ in sorted_images])
    order = np.argsort(-scores, kind="mergesort")
    precisions = []
    for threshold in IOU_THRESHOLDS:
        hits = np.concatenate([_hits(ious, min(threshold, 1 - 1e-10)) for _, ious in sorted_images])[order]
        true, false = np.cumsum(hits), np.cumsum(~hits)
        recall = true / positives
        precision = true / np.maximum(true + false, np.spacing(1))
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        index = np.searchsorted(recall, RECALLS, side="left")
        found = np.zeros(len(RECALLS))
        inside = index < len(precision)
        found[inside] = precision[index[inside]]
        precisions.append(found)
    return float(np.mean(precisions))


def mean_average_precision(images: Sequence[LabelIous]) -> float | None:
    """Return the mean AP of all labels that are annotated somewhere; None if there are none."""
    labels = sorted({image.label for image in images})
    found = [average_precision([image for image in images if image.label == label]) for label in labels]
    known = [value for value in found if value is not None]
    return float(np.mean(known)) if known else None


def _by_score(image: LabelIous) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    order = np.argsort(-image.scores, kind="mergesort")[:MAX_DETECTIONS]
    return image.scores[order], image.ious[order]


def _hits(ious: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]:
    """Return for each detection, highest-scoring first, whether it gets an annotated object of its own."""
    hits = np.zeros(len(ious), bool)
    free = np.ones(ious.shape[1], bool)
    for index, row in enumerate(ious):
        best, partner = threshold, -1
        for column in np.flatnonzero(free):
            if row[column] >= best:
                best, partner = row[column], int(column)
        if partner >= 0:
            hits[index], free[partner] = True, False
    return hits
