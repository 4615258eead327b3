"""Decoding of the network's output: score threshold and non-maximum suppression."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam_model.masks.boxes import Boxes, non_maximum_suppression
from sam_model.yolo.heads import RawDetections
from sam_model.yolo.letterbox import Letterbox

MAX_CANDIDATES = 30_000  # for suppression; the highest-scoring ones
MIN_ONE_TO_ONE = 300  # detections taken from a one-to-one head before the threshold, at least

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Objects:
    """The N objects of one image, highest-scoring first."""

    boxes: Boxes  # (N, 4) in pixels of the image, clipped to it
    scores: Floats  # (N,)
    class_ids: NDArray[np.intp]  # (N,)
    coefficients: Floats | None  # (N, 32)
    prototypes: Floats | None  # (32, h, w), over the network's whole input
    input_boxes: Boxes | None = None  # (N, 4) in pixels of the network's input, not clipped


def decode(
    raw: RawDetections,
    frame: Letterbox,
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
    *,
    is_class_agnostic: bool = False,
    wanted_ids: Collection[int] | None = None,
) -> Objects:
    """Return the objects of the first image of `raw`, highest-scoring first.

    Each cell has its highest-scoring class. Of a one-to-one head, a cell may have several classes, unless
    `is_class_agnostic`, and nothing is suppressed.

    Args:
        raw: the network's output.
        frame: position of the image in the network's input.
        score_threshold: 0..1; objects need a higher score.
        iou_threshold: 0..1; of two boxes with a larger IoU, the highest-scoring one is kept.
        max_detections: maximum number of objects.
        is_class_agnostic: apply `iou_threshold` also between boxes of different classes.
        wanted_ids: the classes to look for; None for all. Others neither suppress nor count.
    """
    candidates = _one_to_one if raw.is_one_to_one else _one_to_many
    scores, class_ids, cells = candidates(raw.class_scores[0], max_detections, is_class_agnostic)
    is_wanted = scores > score_threshold
    if wanted_ids is not None:
        is_wanted &= torch.isin(class_ids, torch.tensor(list(wanted_ids), device=class_ids.device))
    order = torch.nonzero(is_wanted)[:, 0]
    order = order[scores[order].argsort(descending=True, stable=True)[:MAX_CANDIDATES]]
    boxes = raw.boxes[0, cells[order]].cpu().numpy()
    found_scores, found_ids = scores[order].cpu().numpy(), class_ids[order].cpu().numpy()
    if raw.is_one_to_one:
        kept = np.arange(len(order))[:max_detections]
    else:
        ids = None if is_class_agnostic else found_ids
        kept = suppress(boxes, found_scores, ids, iou_threshold, max_detections)
    coefficients = None
    if raw.coefficients is not None:
        coefficients = raw.coefficients[0, cells[order[torch.from_numpy(kept).to(order.device)]]].cpu().numpy()
    return Objects(
        boxes=frame.boxes_in_image(boxes[kept]),
        scores=found_scores[kept],
        class_ids=found_ids[kept],
        coefficients=coefficients,
        prototypes=None if raw.prototypes is None else raw.prototypes[0].cpu().numpy(),
        input_boxes=boxes[kept],
    )


def _one_to_many(class_scores: Tensor, *_: object) -> tuple[Tensor, Tensor, Tensor]:
    """Return scores, class ids and cells of the candidates: of each cell, the highest-scoring class."""
    scores, class_ids = class_scores.max(dim=1)
    return scores, class_ids, torch.arange(len(scores), device=scores.device)


def _one_to_one(class_scores: Tensor, max_detections: int, is_class_agnostic: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return scores, class ids and cells of the candidates, highest-scoring first.

    As in Ultralytics 8.4, these are at most `max_detections` or 300 pairs of a cell and a class, of as many cells.
    """
    best, best_ids = class_scores.max(dim=1)
    best, cells = best.topk(min(max(max_detections, MIN_ONE_TO_ONE), len(best)))
    if is_class_agnostic:
        return best, best_ids[cells], cells
    classes = class_scores.shape[1]
    scores, places = class_scores[cells].flatten().topk(len(cells))
    return scores, places % classes, cells[places // classes]


def suppress(
    boxes: Boxes,
    scores: Floats,
    class_ids: NDArray[np.intp] | None,
    iou_threshold: float,
    limit: int | None = None,
) -> NDArray[np.intp]:
    """Return the indices of the boxes that stay, highest-scoring first.

    Args:
        boxes: (N, 4).
        scores: (N,).
        class_ids: (N,), then only boxes of the same class suppress each other; None to ignore classes.
        iou_threshold: 0..1.
        limit: return only so many; None for all.
    """
    if class_ids is not None and len(boxes):
        # move the boxes of each class far from those of the others, so that they cannot overlap
        far = np.float32(np.abs(boxes).max() * 2 + 1)
        boxes = boxes + class_ids[:, None].astype(np.float32) * far
    return non_maximum_suppression(boxes, scores, iou_threshold, limit)
