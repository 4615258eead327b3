"""Detector and segmenter together: a picture becomes its objects with classes and masks."""

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
FEW = 12  # names that a message lists


@dataclass(frozen=True)
class DetectionSettings:
    """Which of the detector's objects are taken, and what they are called."""

    score_threshold: float = 0.25  # 0..1
    iou_threshold: float = 0.7  # 0..1, of two boxes that overlap by more the surer one stays
    max_detections: int = 300  # objects a picture
    classes: tuple[str, ...] | None = None  # the detector's names, in any letter case; None takes all
    names: Mapping[str, str] = field(default_factory=dict)  # the detector's name -> another, for all files


class Annotator:
    """Annotates pictures; threads may share one."""

    def __init__(self, detector: Detector, segmenter: Segmenter[Any] | None, choice: DetectionSettings) -> None:
        """Put the parts together.

        Args:
            detector: finds the objects.
            segmenter: makes each object's mask of its box; None where the detector makes masks itself.
            choice: which objects.

        Raises:
            ValueError: a class that the detector does not know, a threshold outside 0..1, or nobody makes masks.
        """
        for name, value in (("conf", choice.score_threshold), ("iou", choice.iou_threshold)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name}={value} is not between 0 and 1")
        if choice.max_detections < 1:
            raise ValueError(f"at most {choice.max_detections} objects a picture; needed: 1 or more")
        if segmenter is None and not getattr(detector, "has_masks", True):
            raise ValueError(f"the detector {detector.name!r} finds boxes, no masks: a segmentation model is needed")
        self._detector, self._segmenter, self._choice = detector, segmenter, choice
        self._renamed = {
            name: choice.names.get(name, name) for name in _chosen_classes(detector.class_names, choice.classes)
        }
        for name in choice.names:
            _known_class(name, detector.class_names)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes as the files call them, in the order of the detector's; without a choice its very numbers."""
        return tuple(dict.fromkeys(self._renamed.values()))

    @property
    def model_version(self) -> str:
        """The models' names, for people."""
        return self._detector.name if self._segmenter is None else f"{self._detector.name}+{self._segmenter.name}"

    @property
    def fingerprint(self) -> str:
        """Names everything that the answer for a picture depends on."""
        choice = self._choice
        parts = self._detector.fingerprint, self._segmenter.fingerprint if self._segmenter else None
        return json.dumps([*parts, choice.score_threshold, choice.iou_threshold, choice.max_detections, self._renamed])

    def annotate(self, image: Image) -> tuple[AnnotatedObject, ...]:
        """The objects in an RGB uint8 image (H, W, 3), the surest first; none is no error."""
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
                logger.debug("no mask for %s at %s", detection.class_name, detection.box)
                continue
            name = self._renamed[detection.class_name]
            objects.append(AnnotatedObject(name, detection.score, detection.box, mask))
        return tuple(objects)

    def _own_masks(self, found: Sequence[Detection]) -> Iterator[RunLengths]:
        for detection in found:
            if detection.mask is None:
                raise ValueError(f"the detector {self._detector.name!r} made no mask")
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
    """The detector's spelling of a class.

    Raises:
        ValueError: it has no such class.
    """
    for candidate in known:
        if candidate == name or candidate.casefold() == name.strip().casefold():
            return candidate
    shown = ", ".join(known[:FEW]) + (f" and {len(known) - FEW} more" if len(known) > FEW else "")
    raise ValueError(f"class {name!r} is unknown to the detector; it knows {shown}")
