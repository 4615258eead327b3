"""Annotation of one image: a detector and a segmenter find its objects with classes and masks."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sam_model.annotation.annotated_image import AnnotatedObject
from sam_model.box_segmentation import segment_boxes
from sam_model.detectors.class_filter import detect_classes
from sam_model.interfaces import Detector, Segmenter
from sam_model.masks.coco_rle import RunLengths, run_lengths_from_mask
from sam_model.types import Detection, Image

logger = logging.getLogger(__name__)
MAX_NAMES_SHOWN = 12  # in a message


@dataclass(frozen=True)
class DetectionSettings:
    """Which of a detector's objects are used, and the names of their classes."""

    score_threshold: float = 0.25  # 0..1
    iou_threshold: float = 0.7  # 0..1; of two boxes with a larger IoU, the highest-scoring one is kept
    max_detections: int = 300  # per image
    classes: tuple[str, ...] | None = None  # the detector's names, ignoring case; None for all
    names: Mapping[str, str] = field(default_factory=dict)  # the detector's name -> the name in the files


class Annotator:
    """Finds the objects of images. Threads may share one."""

    def __init__(self, detector: Detector, segmenter: Segmenter[Any] | None, choice: DetectionSettings) -> None:
        """Combine a detector and a segmenter.

        Args:
            detector: finds the objects.
            segmenter: makes the mask of each box; None uses the detector's own masks.
            choice: detection settings.

        Raises:
            ValueError: the detector does not know a class, a threshold is outside 0..1, or neither model makes masks.
        """
        for name, value in (("conf", choice.score_threshold), ("iou", choice.iou_threshold)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name}={value} is not between 0 and 1")
        if choice.max_detections < 1:
            raise ValueError(f"max_detections={choice.max_detections}; needed: 1 or more objects per image")
        if segmenter is None and not getattr(detector, "has_masks", True):
            raise ValueError(f"the detector {detector.name!r} has no masks: choose a segmentation model")
        self._detector, self._segmenter, self._choice = detector, segmenter, choice
        self._renamed = {
            name: choice.names.get(name, name) for name in _chosen_classes(detector.class_names, choice.classes)
        }
        for name in choice.names:
            _known_class(name, detector.class_names)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes in the files, in the detector's order. Without a choice their numbers are the
        detector's.
        """
        return tuple(dict.fromkeys(self._renamed.values()))

    @property
    def model_version(self) -> str:
        """The names of the models."""
        return self._detector.name if self._segmenter is None else f"{self._detector.name}+{self._segmenter.name}"

    @property
    def fingerprint(self) -> str:
        """A text that identifies everything that the annotations depend on, beside the image."""
        choice = self._choice
        parts = self._detector.fingerprint, self._segmenter.fingerprint if self._segmenter else None
        return json.dumps([*parts, choice.score_threshold, choice.iou_threshold, choice.max_detections, self._renamed])

    def annotate(self, image: Image) -> tuple[AnnotatedObject, ...]:
        """Return the objects of an RGB uint8 image (H, W, 3), highest-scoring first. Objects with an empty mask are
        left out.
        """
        choice = self._choice
        found = detect_classes(
            self._detector,
            image,
            dict.fromkeys(self._renamed, choice.score_threshold),
            iou_threshold=choice.iou_threshold,
            max_detections=choice.max_detections,
        )
        masks = self._own_masks(found) if self._segmenter is None else self._segmented(self._segmenter, image, found)
        objects = []
        for detection, mask in zip(found, masks, strict=True):
            if mask.area == 0:
                logger.debug("%s at %s left out: its mask is empty", detection.class_name, detection.box)
                continue
            name = self._renamed[detection.class_name]
            objects.append(AnnotatedObject(name, detection.score, detection.box, mask))
        return tuple(objects)

    def _own_masks(self, found: Sequence[Detection]) -> Iterator[RunLengths]:
        for detection in found:
            if detection.mask is None:
                raise ValueError(f"the detector {self._detector.name!r} returned no mask")
            yield run_lengths_from_mask(detection.mask)

    def _segmented(self, segmenter: Segmenter[Any], image: Image, found: Sequence[Detection]) -> Iterator[RunLengths]:
        if found:
            boxes = [detection.box for detection in found]
            for scored in segment_boxes(segmenter, segmenter.embed(image), boxes):
                yield run_lengths_from_mask(scored.mask)


def _chosen_classes(known: Sequence[str], asked: Sequence[str] | None) -> tuple[str, ...]:
    if asked is None:
        return tuple(known)
    chosen = {_known_class(name, known) for name in asked}
    return tuple(name for name in known if name in chosen)


def _known_class(name: str, known: Sequence[str]) -> str:
    """Return the detector's spelling of a class.

    Raises:
        ValueError: the detector has no such class.
    """
    for candidate in known:
        if candidate == name or candidate.casefold() == name.strip().casefold():
            return candidate
    shown = ", ".join(known[:MAX_NAMES_SHOWN]) + (
        f" and {len(known) - MAX_NAMES_SHOWN} more" if len(known) > MAX_NAMES_SHOWN else ""
    )
    raise ValueError(f"unknown class {name!r}; the detector's classes: {shown}")
