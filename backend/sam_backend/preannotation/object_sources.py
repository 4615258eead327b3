"""The three ways to the objects of a picture: a detector's boxes, segment everything, the boxes already in the task."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sam_backend.interactive.prompts import box_around
from sam_backend.preannotation.label_mapping import THING, LabelMapping, Target
from sam_backend.preannotation.outcome import LabeledBox
from sam_backend.protocol.regions import RotatedRectangle
from sam_model.automatic_segmentation import segment_automatically
from sam_model.box_segmentation import segment_boxes
from sam_model.detectors.class_filter import detect_classes
from sam_model.interfaces import Detector, Segmenter
from sam_model.types import Box, Image, Mask


@dataclass(frozen=True, eq=False)
class FoundObject:
    """An object, where it goes and how sure it is."""

    target: Target
    mask: Mask
    score: float


class ObjectSource(Protocol):
    """Finds the objects of a picture; threads may share one."""

    def find(self, image: Image, boxes: Sequence[LabeledBox]) -> Iterator[FoundObject]:
        """The objects of an RGB uint8 image (H, W, 3); `boxes` are those of the task on this page."""


class DetectorObjects:
    """What a detector finds; the segmenter makes the mask of each box."""

    def __init__(self, detector: Detector, segmenter: Segmenter[Any], mapping: LabelMapping) -> None:
        self._detector, self._segmenter, self._mapping = detector, segmenter, mapping

    def find(self, image: Image, boxes: Sequence[LabeledBox]) -> Iterator[FoundObject]:
        """The objects that have a label and are sure enough for it, the surest first."""
        configuration, targets = self._mapping.configuration, self._mapping.targets
        detected = detect_classes(
            self._detector,
            image,
            {name: target.score_threshold for name, target in targets.items()},
            iou_threshold=configuration.iou_threshold,
            max_detections=configuration.max_detections,
        )
        return masks_of_boxes(
            self._segmenter, image, [(targets[one.class_name], one.box, one.score) for one in detected]
        )


class EverythingObjects:
    """What the segmenter finds without being asked; things have no class."""

    def __init__(self, segmenter: Segmenter[Any], mapping: LabelMapping) -> None:
        self._segmenter, self._mapping = segmenter, mapping

    def find(self, image: Image, boxes: Sequence[LabeledBox]) -> Iterator[FoundObject]:
        """The things, the best first."""
        target = self._mapping.targets[THING]
        found = segment_automatically(self._segmenter, image, target.score_threshold)
        for thing in found[: self._mapping.configuration.max_detections]:
            yield FoundObject(target, thing.run_lengths.mask, thing.score)


class TaskBoxObjects:
    """The rectangles that are in the task already, drawn or predicted, made into masks with their labels."""

    def __init__(self, segmenter: Segmenter[Any], target_of: Callable[[tuple[str, ...]], Target | None]) -> None:
        self._segmenter, self._target_of = segmenter, target_of

    def find(self, image: Image, boxes: Sequence[LabeledBox]) -> Iterator[FoundObject]:
        """An object for each rectangle with a label that the config knows, in their order."""
        size = (image.shape[0], image.shape[1])
        wanted = []
        for one in boxes:
            target = self._target_of(one.labels)
            x_min, y_min, x_max, y_max = box_around(
                RotatedRectangle(one.x, one.y, one.width, one.height, one.rotation), size
            )
            if target is not None and x_min < x_max and y_min < y_max:
                wanted.append((target, (x_min, y_min, x_max, y_max), None))
        return masks_of_boxes(self._segmenter, image, wanted)


def masks_of_boxes(
    segmenter: Segmenter[Any], image: Image, wanted: Sequence[tuple[Target, Box, float | None]]
) -> Iterator[FoundObject]:
    """The objects in the boxes, some at a time; where a box has no score of its own, the mask's counts.

    The embedding is made only where there is something to ask.
    """
    if not wanted:
        return
    masks = segment_boxes(segmenter, segmenter.embed(image), [box for _, box, _ in wanted])
    for (target, _, score), scored in zip(wanted, masks, strict=True):
        if scored.mask.any():
            yield FoundObject(target, scored.mask, scored.score if score is None else score)
