"""The sources of a run's objects: a detector, segment everything, the rectangles that a task has, or examples."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sam_backend import metrics
from sam_backend.exemplars.similar_objects import SimilarObjects
from sam_backend.preannotation.label_mapping import ANY_OBJECT, LabelMapping, Target
from sam_backend.protocol.regions import PromptRegion, RotatedRectangle
from sam_backend.segmenter.limited_segmenter import LimitedSegmenter
from sam_backend.shapes.rectangle import box_from_rectangle
from sam_model.automatic_segmentation import segment_automatically
from sam_model.box_segmentation import segment_boxes
from sam_model.detectors.class_filter import detect_classes
from sam_model.interfaces import Detector, Segmenter
from sam_model.types import Box, Image, Mask


@dataclass(frozen=True)
class Embed:
    """Call it for the image's embedding by the source's segmenter, which is stored, or computed now."""

    digest: str  # SHA-256 of the image file's bytes, in hexadecimal
    compute: Callable[[], Any]

    def __call__(self) -> Any:
        """Return the embedding."""
        return self.compute()


@dataclass(frozen=True, eq=False)
class FoundObject:
    """An object: its mask, the target of its regions, and its score, 0..1."""

    target: Target
    mask: Mask
    score: float


class ObjectSource(Protocol):
    """Finds the objects of an image. Threads may share it."""

    def find(self, image: Image, embed: Embed, rectangles: Sequence[PromptRegion]) -> Iterator[FoundObject]:
        """Yield the objects of an image.

        Args:
            image: RGB uint8 (H, W, 3).
            embed: called only if there is something to segment.
            rectangles: those that the task has on this page.
        """


class DetectorObjects:
    """The objects that a detector finds; the segmenter makes a mask from each box."""

    def __init__(self, detector: Detector, segmenter: Segmenter[Any], mapping: LabelMapping) -> None:
        self._detector, self._segmenter, self._mapping = detector, segmenter, mapping

    def find(self, image: Image, embed: Embed, rectangles: Sequence[PromptRegion]) -> Iterator[FoundObject]:
        """Yield the objects whose class has a label and whose score reaches its threshold, highest-scoring first."""
        configuration, targets = self._mapping.configuration, self._mapping.targets
        with metrics.stage("detect"):
            detections = detect_classes(
                self._detector,
                image,
                {name: target.score_threshold for name, target in targets.items()},
                iou_threshold=configuration.iou_threshold,
                max_detections=configuration.max_detections,
            )
        return _masks_of_boxes(
            self._segmenter,
            embed,
            [(targets[detection.class_name], detection.box, detection.score) for detection in detections],
        )


class EverythingObjects:
    """All objects that the segmenter finds without prompts; they have no class."""

    def __init__(self, segmenter: Segmenter[Any], mapping: LabelMapping) -> None:
        self._segmenter, self._mapping = segmenter, mapping

    def find(self, image: Image, embed: Embed, rectangles: Sequence[PromptRegion]) -> Iterator[FoundObject]:
        """Yield the objects, highest-scoring first."""
        target = self._mapping.targets[ANY_OBJECT]
        segmenter = self._segmenter.unlimited if isinstance(self._segmenter, LimitedSegmenter) else self._segmenter
        configuration = self._mapping.configuration
        found = segment_automatically(
            segmenter, image, target.score_threshold, embed=embed, points_per_side=configuration.points_per_side
        )
        for each in found[: configuration.max_detections]:
            yield FoundObject(target, each.run_lengths.mask, each.score)


class ExemplarObjects:
    """The objects that are like annotated ones."""

    def __init__(self, similar: SimilarObjects, mapping: LabelMapping) -> None:
        self.similar, self._limit = similar, mapping.configuration.max_detections
        found = {label: mapping.for_labels((label,) if label else ()) for label in similar.scorers}
        self._targets = {label: target for label, target in found.items() if target is not None}

    def find(self, image: Image, embed: Embed, rectangles: Sequence[PromptRegion]) -> Iterator[FoundObject]:
        """Yield the objects whose label the config has and whose score reaches its threshold, highest-scoring first."""
        thresholds = {label: target.score_threshold for label, target in self._targets.items()}
        for match, mask in self.similar.find(embed.digest, image, embed, thresholds, self._limit):
            if mask.any():
                yield FoundObject(self._targets[match.label], mask, match.score)


class TaskBoxObjects:
    """The objects in the rectangles that a task has already, drawn or predicted."""

    def __init__(self, segmenter: Segmenter[Any], target_of: Callable[[tuple[str, ...]], Target | None]) -> None:
        self._segmenter, self._target_of = segmenter, target_of

    def find(self, image: Image, embed: Embed, rectangles: Sequence[PromptRegion]) -> Iterator[FoundObject]:
        """Yield an object for each rectangle whose label the config has, in the order of the rectangles."""
        size = (image.shape[0], image.shape[1])
        boxes: list[tuple[Target, Box, float | None]] = []
        for region in rectangles:
            target = self._target_of(region.labels)
            if target is None or not isinstance(region.shape, RotatedRectangle):
                continue
            x_min, y_min, x_max, y_max = box_from_rectangle(region.shape, size)
            if x_min < x_max and y_min < y_max:
                boxes.append((target, (x_min, y_min, x_max, y_max), None))
        return _masks_of_boxes(self._segmenter, embed, boxes)


def _masks_of_boxes(
    segmenter: Segmenter[Any], embed: Embed, boxes: Sequence[tuple[Target, Box, float | None]]
) -> Iterator[FoundObject]:
    """Yield the objects in boxes; the score of a box without one is the mask's."""
    if not boxes:
        return
    masks = segment_boxes(segmenter, embed(), [box for _, box, _ in boxes])
    for (target, _, score), scored in zip(boxes, masks, strict=True):
        if scored.mask.any():
            yield FoundObject(target, scored.mask, scored.score if score is None else score)
