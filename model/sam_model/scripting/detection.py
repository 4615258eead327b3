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
from sam_model.yolo.decode import MAX_CANDIDATES
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
    one_to_one: bool = False  # use the head without suppression, if the network has one


def detect_objects(detector: Detector, image: SourceImage, request: DetectionRequest) -> Results:
    """Return the objects of an image, highest-scoring first.

    Raises:
        ValueError: the detector cannot do what the request asks for.
    """
    if isinstance(detector, YoloDetector):
        return _yolo_objects(detector, image, request)
    if request.agnostic_nms or request.imgsz is not None or request.one_to_one:
        raise ValueError(f"the detector {detector.name} has no agnostic_nms, imgsz and nms=False")
    watch = Stopwatch()
    with watch.stage("preprocess"):
        rgb = np.ascontiguousarray(image.image[..., ::-1])
    with watch.stage("inference"):
        limit = request.max_det if request.class_ids is None else MAX_CANDIDATES  # other classes do not count
        found = detector.detect(rgb, score_threshold=request.conf, iou_threshold=request.iou, max_detections=limit)
    found = [one for one in found if request.class_ids is None or one.class_id in request.class_ids]
    found = found[: request.max_det]
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
            one_to_one=request.one_to_one,
        )
    with watch.stage("postprocess"):
        objects = found.objects
        places = list(range(len(objects.scores)))
        masks: EncodedMasks | None = None
        if detector.has_masks and places:
            made = masks_of if request.retina_masks else masks_in_input
            encoded = [run_lengths_from_mask(mask) for mask in made(objects, found.frame)]
            places = [place for place in places if encoded[place].area]  # as in Ultralytics, no empty masks
            size = found.frame.image_size if request.retina_masks else found.frame.size
            masks = EncodedMasks(tuple(encoded[place] for place in places), size, torch.uint8)
        rows = [(*objects.boxes[place], objects.scores[place], objects.class_ids[place]) for place in places]
    return detection_results(image, rows, masks, detector, watch)


def detection_results(
    image: SourceImage, rows: Sequence[Any], masks: EncodedMasks | None, detector: Detector, watch: Stopwatch
) -> Results:
    """Return the results of an image from rows (x_min, y_min, x_max, y_max, score, class id)."""
    names = dict(enumerate(detector.class_names))
    names.update({int(row[5]): f"class {int(row[5])}" for row in rows if int(row[5]) not in names})
    return Results(
        image.image,
        image.path,
        names,
        boxes=torch.tensor(np.array(rows, dtype=np.float32).reshape(-1, 6)),
        masks=masks,
        speed=watch.speed,
        details=MaskDetails(detector.name),
    )
