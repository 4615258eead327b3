"""FastSAM: all masks of an image are found once, and a prompt selects one of them.

The embedding is the set of masks, so a prompt costs next to nothing, and no prompt can return a mask outside that set.
The network is a YOLOv8 segmentation model with one class.

Source: FastSAM, arXiv:2306.12156, section 3.3. Points select the mask that contains all positive and no negative
points, or several masks together; a box selects the mask with the largest IoU.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sam_model.masks.boxes import box_from_mask
from sam_model.masks.cleaning import MaskCleaning, clean_mask
from sam_model.masks.coco_rle import RunLengths, run_lengths_from_mask
from sam_model.runtime.torch_runtime import Device
from sam_model.types import Box, Image, Mask, Point, Prompt, ScoredMask
from sam_model.yolo.checkpoint import YoloModel
from sam_model.yolo.detector import CONVERTED_DIRECTORY, YoloDetector
from sam_model.yolo.masks import mask_parts_of

IMAGE_SIZE = 1024  # longer side of the network's input in pixels, as in FastSAM's training
SCORE_THRESHOLD = 0.4  # this and the next as in the examples of the FastSAM documentation
IOU_THRESHOLD = 0.9
MAX_MASKS = 300
ALTERNATIVES = 2  # candidates beside the best one, as SAM has


@dataclass(frozen=True, eq=False)
class FoundMask:
    """A mask of an image, with its score and class."""

    run_lengths: RunLengths
    box: Box  # around the mask, in pixels
    score: float
    class_id: int

    def contains(self, point: Point) -> bool:
        """Return whether the point is on the mask. A point on the far edge of the image is on its last pixel."""
        return self.run_lengths.contains(point.x, point.y)


@dataclass(frozen=True, eq=False)
class FastSamEmbedding:
    """All masks of one image, highest-scoring first."""

    masks: tuple[FoundMask, ...]
    image_size: tuple[int, int]  # (height, width) in pixels
    fingerprint: str  # of the segmenter that made it

    @property
    def nbytes(self) -> int:
        """The memory it takes, in bytes."""
        return sum(mask.run_lengths.counts.nbytes for mask in self.masks)


class FastSamSegmenter:
    """A YOLOv8 segmentation model as a `sam_model.interfaces.Segmenter`."""

    uses_mask_input = False

    def __init__(
        self,
        model: YoloModel,
        device: Device = "cpu",
        dtype: str = "float32",
        image_size: int = IMAGE_SIZE,
        score_threshold: float = SCORE_THRESHOLD,
        iou_threshold: float = IOU_THRESHOLD,
        cleaning: MaskCleaning | None = None,
        runtime: str = "torch",
        converted_dir: Path = CONVERTED_DIRECTORY,
    ) -> None:
        """Take a model with its weights, and move it to `device`.

        Args:
            model: network and class names; must not be used elsewhere afterwards.
            device: `cpu`, `cuda`, `cuda:1`, `mps` or `auto`.
            dtype: `float32`, `bfloat16`, `float16` or `auto`.
            image_size: length of the longer side of the network's input in pixels, a multiple of 32.
            score_threshold: 0..1; masks need a higher score.
            iou_threshold: 0..1; of two boxes with a larger IoU, the highest-scoring one is kept.
            cleaning: post-processing of the selected masks; none by default.
            runtime: `torch`, `openvino`, or `auto` for the faster one.
            converted_dir: folder of the networks that were converted for OpenVINO.

        Raises:
            ValueError: the model has no masks, the device or precision is unknown, or `image_size` is not a multiple of
                32.
        """
        if not model.network.has_masks:
            raise ValueError(f"{model.name} has no masks, so it is not a FastSAM; needed: a YOLO segmentation model")
        self.name = f"fastsam_{model.size_letter}" if model.size_letter else "fastsam"
        self.detector = YoloDetector(model, device, dtype, image_size, self.name, runtime, converted_dir)
        self.score_threshold, self.iou_threshold = score_threshold, iou_threshold
        self.cleaning = cleaning or MaskCleaning()
        parts = [self.detector.fingerprint, str(score_threshold), str(iou_threshold), str(self.cleaning)]
        self.fingerprint = "-".join(part for part in parts if part)

    def embed(self, image: Image) -> FastSamEmbedding:
        """Find all masks of an RGB uint8 image (H, W, 3).

        Raises:
            ValueError: `image` is not RGB uint8.
        """
        return self.find_masks(image, self.score_threshold, self.iou_threshold)

    def find_masks(
        self,
        image: Image,
        score_threshold: float,
        iou_threshold: float,
        image_size: int | None = None,
        class_ids: Collection[int] | None = None,
    ) -> FastSamEmbedding:
        """Find all masks with other settings than those of the segmenter.

        Args:
            image: RGB uint8 (H, W, 3).
            score_threshold: 0..1; masks need a higher score.
            iou_threshold: 0..1; of two boxes with a larger IoU, the highest-scoring one is kept.
            image_size: length of the longer side of the network's input in pixels; None for the segmenter's.
            class_ids: the wanted classes; None for all.

        Raises:
            ValueError: `image` is not RGB uint8, or a setting is out of range.
        """
        found = self.detector.find(
            image,
            score_threshold=score_threshold,
            iou_threshold=iou_threshold,
            max_detections=MAX_MASKS,
            image_size=image_size,
            wanted_ids=class_ids,
        )
        masks = []
        size = (image.shape[0], image.shape[1])
        for index, (part, place) in enumerate(mask_parts_of(found.objects, found.frame)):
            score, class_id = float(found.objects.scores[index]), int(found.objects.class_ids[index])
            inner = box_from_mask(part)
            if inner is not None:
                top, left = place[0].start, place[1].start
                box = (inner[0] + left, inner[1] + top, inner[2] + left, inner[3] + top)
                masks.append(FoundMask(run_lengths_from_mask(part, (top, left), size), box, score, class_id))
        return FastSamEmbedding(tuple(masks), size, self.fingerprint)

    def segment(self, embedding: FastSamEmbedding, prompts: Sequence[Prompt]) -> list[ScoredMask]:
        """Return the mask that each prompt selects, in the order of the prompts; an empty one with score 0 if there is
        none.

        Mask inputs are ignored: the image's masks are all that FastSAM knows.

        Raises:
            ValueError: a prompt has neither points nor a box, or numbers that are not finite, or the embedding was made
                by another model.
        """
        masks = []
        for prompt, selection in zip(prompts, self.select(embedding, prompts), strict=True):
            best = selection.scored_mask(embedding.image_size)
            alternatives = tuple(self._cleaned(other, prompt) for other in best.alternatives)
            masks.append(replace(self._cleaned(best, prompt), alternatives=alternatives))
        return masks

    def _cleaned(self, found: ScoredMask, prompt: Prompt) -> ScoredMask:
        return replace(found, mask=clean_mask(found.mask, self.cleaning, prompt.points))

    def select(self, embedding: FastSamEmbedding, prompts: Sequence[Prompt]) -> list["Selection"]:
        """Return what each prompt selects, without making the masks.

        Raises:
            ValueError: as `segment`.
        """
        if embedding.fingerprint != self.fingerprint:
            raise ValueError(f"the embedding was made by {embedding.fingerprint!r}, not by {self.fingerprint!r}")
        for prompt in prompts:
            _check(prompt, embedding.image_size)
        return [select_masks(embedding.masks, prompt) for prompt in prompts]


@dataclass(frozen=True, eq=False)
class Selection:
    """The masks that a prompt selects: their union is the object. `alternatives` holds other candidates."""

    masks: tuple[FoundMask, ...] = ()
    alternatives: tuple[FoundMask, ...] = ()

    @property
    def class_id(self) -> int:
        """The class of the first mask; -1 if there is none."""
        return self.masks[0].class_id if self.masks else -1

    def scored_mask(self, image_size: tuple[int, int]) -> ScoredMask:
        """Return the union of the masks, with the lowest of their scores. Without masks it is empty, with score 0."""
        mask: Mask = np.zeros(image_size, dtype=bool)
        for one in self.masks:
            mask |= one.run_lengths.mask
        others = tuple(ScoredMask(one.run_lengths.mask, one.score) for one in self.alternatives)
        return ScoredMask(mask, min((one.score for one in self.masks), default=0.0), alternatives=others)


def select_masks(masks: Sequence[FoundMask], prompt: Prompt) -> Selection:
    """Return what a prompt selects from `masks`, which are sorted by score; with alternatives if it asks for
    `multimask`.
    """
    negative = [point for point in prompt.points if not point.is_positive]
    positive = [point for point in prompt.points if point.is_positive]
    allowed = [one for one in masks if not any(one.contains(point) for point in negative)]
    fitting = [one for one in allowed if all(one.contains(point) for point in positive)]
    count = 1 + ALTERNATIVES if prompt.multimask else 1
    if prompt.box is not None:
        fitting = by_box_overlap(fitting or allowed, prompt.box, count)
    elif not positive:
        return Selection()  # negative points alone do not tell where the object is
    elif not fitting:
        best = [next((one for one in allowed if one.contains(point)), None) for point in positive]
        return Selection(tuple(dict.fromkeys(one for one in best if one is not None)))
    return Selection(tuple(fitting[:1]), tuple(fitting[1:count]))


def by_box_overlap(masks: Sequence[FoundMask], box: Box, count: int = 1) -> list[FoundMask]:
    """Return the `count` masks with the largest IoU with `box`, largest first; masks that do not overlap it are left
    out.
    """
    best: list[tuple[float, FoundMask]] = []
    bounds = sorted(((_max_iou(one, box), index) for index, one in enumerate(masks)), key=lambda x: (-x[0], x[1]))
    for bound, index in bounds:
        if bound == 0 or (len(best) == count and bound <= best[-1][0]):
            break  # the rest cannot be better, so their masks need not be made
        best.append((_iou(masks[index], box), masks[index]))
        best = sorted(best, key=lambda x: -x[0])[:count]
    return [one for iou, one in best if iou > 0]


def _iou(one: FoundMask, box: Box) -> float:
    """Return the IoU of a mask and a box, whose edges are rounded to whole pixels."""
    x_min, y_min, x_max, y_max = (max(0, round(edge)) for edge in box)
    inside = np.count_nonzero(one.run_lengths.mask[y_min:y_max, x_min:x_max])
    height, width = one.run_lengths.size
    area = max(0, min(x_max, width) - x_min) * max(0, min(y_max, height) - y_min)
    return inside / (one.run_lengths.area + area - inside)


def _max_iou(one: FoundMask, box: Box) -> float:
    """Return an upper bound of the IoU of a mask and a box, from the box around the mask."""
    height, width = one.run_lengths.size
    x_min, y_min, x_max, y_max = (max(0, round(edge)) for edge in box)
    x_max, y_max = min(x_max, width), min(y_max, height)
    sides = min(x_max, one.box[2]) - max(x_min, one.box[0]), min(y_max, one.box[3]) - max(y_min, one.box[1])
    inside = min(max(sides[0], 0) * max(sides[1], 0), one.run_lengths.area)
    if inside == 0:
        return 0.0
    return inside / (one.run_lengths.area + (x_max - x_min) * (y_max - y_min) - inside)


def _check(prompt: Prompt, image_size: tuple[int, int]) -> None:
    height, width = image_size
    if not prompt.points and prompt.box is None:
        raise ValueError("the prompt is empty: FastSAM needs points or a box")
    for point in prompt.points:
        if not (0 <= point.x <= width and 0 <= point.y <= height):  # False for NaN, too
            raise ValueError(f"point ({point.x}, {point.y}) is outside the image of {width} x {height} pixels")
    if prompt.box is not None and not all(map(math.isfinite, prompt.box)):
        raise ValueError(f"box {prompt.box} has numbers that are not finite")
