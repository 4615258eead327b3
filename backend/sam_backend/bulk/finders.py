"""The three ways to the objects of a picture: a detector's boxes, segment everything, the boxes already in the task."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sam_backend.bulk.label_mapping import THING, LabelMapping, Target
from sam_backend.bulk.outcome import LabeledBox
from sam_backend.prompts import box_around
from sam_backend.protocol.regions import RotatedRectangle
from sam_model.automatic_segmentation import everything
from sam_model.interfaces import Detector, Segmenter
from sam_model.types import Box, Image, Mask, Prompt

MOST_FOUND = 3000  # objects of all classes, from which those with a label are taken
PROMPTS_AT_ONCE = 16  # their masks are held at full size: at 12 megapixels 200 MB


@dataclass(frozen=True, eq=False)
class FoundObject:
    """An object, where it goes and how sure it is."""

    target: Target
    mask: Mask
    score: float


class Finder(Protocol):
    """Finds the objects of a picture; threads may share one."""

    def find(self, image: Image, boxes: Sequence[LabeledBox]) -> Iterator[FoundObject]:
        """The objects of an RGB uint8 image (H, W, 3); `boxes` are those of the task on this page."""


class DetectedObjects:
    """What a detector finds; the segmenter makes the mask of each box."""

    def __init__(self, detector: Detector, segmenter: Segmenter[Any], mapping: LabelMapping) -> None:
        self._detector, self._segmenter, self._mapping = detector, segmenter, mapping

    def find(self, image: Image, boxes: Sequence[LabeledBox]) -> Iterator[FoundObject]:
        """The objects that have a label and are sure enough for it, the surest first."""
        configuration, targets = self._mapping.configuration, self._mapping.targets
        detected = self._detector.detect(
            image,
            score_threshold=self._mapping.least_score,
            iou_threshold=configuration.iou_threshold,
            max_detections=max(configuration.at_most, MOST_FOUND),
        )
        wanted = [
            (targets[one.class_name], one.box, one.score)
            for one in detected
            if one.class_name in targets and one.score >= targets[one.class_name].score_threshold
        ]
        return masks_of_boxes(self._segmenter, image, wanted[: configuration.at_most])


class Everything:
    """What the segmenter finds without being asked; things have no class."""

    def __init__(self, segmenter: Segmenter[Any], mapping: LabelMapping) -> None:
        self._segmenter, self._mapping = segmenter, mapping

    def find(self, image: Image, boxes: Sequence[LabeledBox]) -> Iterator[FoundObject]:
        """The things, the best first."""
        target = self._mapping.targets[THING]
        found = everything(self._segmenter, image, target.score_threshold)
        for thing in found[: self._mapping.configuration.at_most]:
            yield FoundObject(target, thing.run_lengths.mask, thing.score)


class BoxesOfTheTask:
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
    embedding = segmenter.embed(image) if wanted else None
    for first in range(0, len(wanted), PROMPTS_AT_ONCE):
        some = wanted[first : first + PROMPTS_AT_ONCE]
        masks = segmenter.segment(embedding, [Prompt(box=box) for _, box, _ in some])
        for (target, _, score), scored in zip(some, masks, strict=True):
            if scored.mask.any():
                yield FoundObject(target, scored.mask, scored.score if score is None else score)
