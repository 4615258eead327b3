"""Detectors' results of one image: boxes with scores and classes, and masks if the detector has them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sam_model.interfaces import Detector
from sam_model.masks.coco_rle import run_lengths_from_mask
from sam_model.scripting.masks import EncodedMasks
from sam_model.scripting.prediction import Stopwatch
from sam_model.scripting.results import MaskDetails, Results
from sam_model.scripting.sources import SourceImage
from sam_model.types import Detection
from sam_model.yolo.detector import YoloDetector
from sam_model.yolo.masks import masks_in_input, masks_of


@dataclass(frozen=True)
class DetectionRequest:
    """The arguments of a detection, under Ultralytics' names."""

    conf: float  # 0..1; objects need a higher score
    iou: float  # 0..1; of two boxes with a larger IoU, the highest-scoring one is kept
    max_det: int = 300  # maximum number of objects
    class_ids: frozenset[int] | None = None  # None for all
    agnostic_nms: bool = False  # apply `iou` also between boxes of different classes
    imgsz: int | None = None  # longer side of the network's input in pixels; None for the detector's
    retina_masks: bool = False  # masks at the size of the image, not of the network's input


def detect_objects(detector: Detector, image: SourceImage, request: DetectionRequest) -> Results:
    """Return the objects of an image, highest-scoring first.

    Raises:
        ValueError: the detector cannot do what the request asks for.
    """
    if isinstance(detector, YoloDetector):
        return _yolo_objects(detector, image, request)
    if request.agnostic_nms or request.imgsz is not None:
        raise ValueError(f"the detector {detector.name} has no agnostic_nms and imgsz")
    watch = Stopwatch()
    with watch.stage("preprocess"):
        rgb = np.ascontiguousarray(image.image[..., ::-1])
    with watch.stage("inference"):
        found = detector.detect(
            rgb, score_threshold=request.conf, iou_threshold=request.iou, max_detections=request.max_det
        )
    found = [one for one in found if request.class_ids is None or one.class_id in request.class_ids]
    rows = [(*one.box, one.score, one.class_id) for one in found]
    return detection_results(image, rows, _masks(found, image), detector, watch)


def _masks(found: Sequence[Detection], image: SourceImage) -> EncodedMasks | None:
    masks = [one.mask for one in found if one.mask is not None]
    if not masks:
        return None
    size = (image.image.shape[0], image.image.shape[1])
    return EncodedMasks(tuple(run_lengths_from_mask(mask) for mask in masks), size, torch.uint8)


def _yolo_objects(detector: YoloDetector, image: SourceImage, request: DetectionRequest) -> Results:
    watch = Stopwatch()
    with watch.stage("preprocess"):
        rgb = np.ascontiguousarray(image.image[..., ::-1])
    with watch.stage("inference"):
        found = detector.find(
            rgb,
            score_threshold=request.conf,
            iou_threshold=request.iou,
            max_detections=request.max_det,
            is_class_agnostic=request.agnostic_nms,
            image_size=request.imgsz,
            wanted_ids=request.class_ids,
        )
    with watch.stage("postprocess"):
        objects = found.objects
        is_kept = [True] * len(objects.scores)
        rows = [
            (*box, score, class_id)
            for box, score, class_id in zip(objects.boxes, objects.scores, objects.class_ids, strict=True)
        ]
        masks: EncodedMasks | None = None
        if detector.has_masks:
            made = masks_of if request.retina_masks else masks_in_input
            run_lengths = []
            for index, mask in enumerate(made(objects, found.frame)):
                is_kept[index] = is_kept[index] and bool(mask.any())
                if is_kept[index]:
                    run_lengths.append(run_lengths_from_mask(mask))
            size = found.frame.image_size if request.retina_masks else found.frame.size
            # as in Ultralytics: None if there are no objects
            masks = EncodedMasks(tuple(run_lengths), size, torch.uint8) if rows else None
        rows = [row for row, kept in zip(rows, is_kept, strict=True) if kept]
    return detection_results(image, rows, masks, detector, watch)


def detection_results(
    image: SourceImage, rows: Sequence[Any], masks: EncodedMasks | None, detector: Detector, watch: Stopwatch
) -> Results:
    """Return the results of an image from rows (x_min, y_min, x_max, y_max, score, class id)."""
    return Results(
        image.image,
        image.path,
        dict(enumerate(detector.class_names)),
        boxes=torch.tensor(np.array(rows, dtype=np.float32).reshape(-1, 6)),
        masks=masks,
        speed=watch.speed,
        details=MaskDetails(detector.name),
    )
