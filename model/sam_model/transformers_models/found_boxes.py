"""Boxes and scores from a network -> detections."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sam_model.masks.boxes import Boxes, non_maximum_suppression
from sam_model.types import Detection
from sam_model.yolo.decode import Objects
from sam_model.yolo.detector import detections_of


def corners_of(boxes: Tensor, frame: tuple[int, int], image_size: tuple[int, int]) -> Boxes:
    """Convert centres and sides to corners in pixels, inside the image.

    Args:
        boxes: (N, 4), centre and sides as shares of the frame.
        frame: (height, width) of what the shares refer to, in pixels.
        image_size: (height, width).
    """
    (frame_height, frame_width), (height, width) = frame, image_size
    boxes = boxes.float()
    corners = torch.cat([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], dim=1)
    pixels = corners.cpu().numpy() * np.array([frame_width, frame_height] * 2, np.float32)
    return pixels.clip(0, np.array([width, height] * 2)).astype(np.float32)


def detections_above(
    score_threshold: float,
    boxes: Boxes,
    scores: Tensor,
    class_ids: Tensor,
    class_names: Sequence[str],
    *,
    iou_threshold: float,
    limit: int,
) -> list[Detection]:
    """Return the objects with a higher score, highest-scoring first, without duplicates.

    Args:
        score_threshold: 0..1.
        boxes: (N, 4) in pixels.
        scores: (N,).
        class_ids: (N,), indices into `class_names`.
        class_names: of the classes.
        iou_threshold: of two boxes with a larger IoU, the highest-scoring one is kept.
        limit: maximum number of detections.
    """
    found, ids = scores.float().cpu().numpy(), class_ids.cpu().numpy()
    passed = np.flatnonzero(found > score_threshold)
    kept: Any = passed[non_maximum_suppression(boxes[passed], found[passed], iou_threshold)][:limit]
    return detections_of(Objects(boxes[kept], found[kept], ids[kept], None, None), class_names)
