"""Decoding of the network's output: score threshold and non-maximum suppression."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sam_model.masks.boxes import Boxes, non_maximum_suppression
from sam_model.yolo.heads import RawDetections
from sam_model.yolo.letterbox import Letterbox

MAX_CANDIDATES = 30_000  # for suppression; the highest-scoring ones

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
) -> Objects:
    """Return the objects of the first image of `raw`, each cell with its highest-scoring class.

    Args:
        raw: the network's output.
        frame: position of the image in the network's input.
        score_threshold: 0..1; objects need a higher score.
        iou_threshold: 0..1; of two boxes with a larger IoU, the highest-scoring one is kept.
        max_detections: maximum number of objects.
        is_class_agnostic: apply `iou_threshold` also between boxes of different classes.
    """
    scores, class_ids = raw.class_scores[0].max(dim=1)
    cells = torch.nonzero(scores > score_threshold)[:, 0]
    cells = cells[scores[cells].argsort(descending=True, stable=True)[:MAX_CANDIDATES]]
    boxes = raw.boxes[0, cells].cpu().numpy()
    found_scores, found_ids = scores[cells].cpu().numpy(), class_ids[cells].cpu().numpy()
    kept = suppress(boxes, found_scores, None if is_class_agnostic else found_ids, iou_threshold)[:max_detections]
    coefficients = None
    if raw.coefficients is not None:
        coefficients = raw.coefficients[0, cells.cpu()[torch.from_numpy(kept)].to(cells.device)].cpu().numpy()
    return Objects(
        boxes=frame.boxes_in_image(boxes[kept]),
        scores=found_scores[kept],
        class_ids=found_ids[kept],
        coefficients=coefficients,
        prototypes=None if raw.prototypes is None else raw.prototypes[0].cpu().numpy(),
        input_boxes=boxes[kept],
    )


def suppress(
    boxes: Boxes, scores: Floats, class_ids: NDArray[np.intp] | None, iou_threshold: float
) -> NDArray[np.intp]:
    """Return the indices of the boxes that stay, highest-scoring first.

    Args:
        boxes: (N, 4).
        scores: (N,).
        class_ids: (N,), then only boxes of the same class suppress each other; None to ignore classes.
        iou_threshold: 0..1.
    """
    if class_ids is not None and len(boxes):
        # move the boxes of each class far from those of the others, so that they cannot overlap
        far = np.float32(np.abs(boxes).max() * 2 + 1)
        boxes = boxes + class_ids[:, None].astype(np.float32) * far
    return non_maximum_suppression(boxes, scores, iou_threshold)
