"""Decoding of the network's output: score threshold, non-maximum suppression, masks at the image's resolution."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sam_model.masks.boxes import Boxes, non_maximum_suppression
from sam_model.types import Mask
from sam_model.yolo.heads import RawDetections
from sam_model.yolo.letterbox import Letterbox

MAX_CANDIDATES = 30_000  # for suppression; the highest-scoring ones

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Objects:
    """The N objects of one image, highest-scoring first."""

    boxes: Boxes  # (N, 4) in pixels of the image
    scores: Floats  # (N,)
    class_ids: NDArray[np.intp]  # (N,)
    coefficients: Floats | None  # (N, 32)
    prototypes: Floats | None  # (32, h, w), over the network's whole input


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


def masks_of(objects: Objects, frame: Letterbox) -> Iterator[Mask]:
    """Yield the objects' masks (H, W) at the image's resolution.

    A mask is the object's linear combination of the prototypes, interpolated to the image, thresholded at zero and
    cropped to the box.

    Source: YOLACT, arXiv:1904.02689, section 3.2 ("mask assembly", "cropping").
    """
    if objects.coefficients is None or objects.prototypes is None:
        return
    height, width = frame.image_size
    top, bottom, left, right = _image_in_prototypes(objects.prototypes.shape[1:], frame.image_size)
    prototypes = objects.prototypes[:, top:bottom, left:right]
    _, low_height, low_width = prototypes.shape
    combinations = objects.coefficients @ prototypes.reshape(len(prototypes), -1)
    for combination, box in zip(combinations.reshape(-1, low_height, low_width), objects.boxes, strict=True):
        x0, y0, x1, y1 = (int(edge) for edge in np.rint(box))  # the pixels with their centres in the box
        mask = np.zeros((height, width), dtype=bool)
        if x1 > x0 and y1 > y0:
            logits = _interpolated(_interpolated(combination, low_height, height, y0, y1).T, low_width, width, x0, x1).T
            mask[y0:y1, x0:x1] = logits > 0
        yield mask


def _image_in_prototypes(low_size: tuple[int, ...], image_size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return first and last rows and columns of the prototypes that the image covers, in whole cells."""
    scale = min(low / full for low, full in zip(low_size, image_size, strict=True))
    edges = []
    for low, full in zip(low_size, image_size, strict=True):
        border = (low - full * scale) / 2
        first = round(border - 0.1)
        edges += [first, max(low - round(border + 0.1), first + 1)]  # an image of one pixel row still covers a cell
    return edges[0], edges[1], edges[2], edges[3]


def _interpolated(rows: Floats, low: int, full: int, first: int, last: int) -> Floats:
    """Return rows `first` to `last` of (`low`, W) stretched to `full` rows, linearly between the cells' centres."""
    place = np.maximum((np.arange(first, last, dtype=np.float32) + np.float32(0.5)) * np.float32(low / full) - 0.5, 0)
    below = np.minimum(place.astype(np.intp), low - 1)
    above = np.minimum(below + 1, low - 1)
    share = (place - below).astype(np.float32)[:, None]
    stretched: Floats = rows[below] * (1 - share) + rows[above] * share
    return stretched
