"""FastSAM: everything in a picture is found once, and a prompt picks from what was found.

Behind the interface of a segmenter: its embedding is the set of masks, so that every prompt costs next to nothing, and
no prompt can give a mask that is not in the set.
Source: FastSAM, arXiv:2306.12156, section 3.3 (points: the masks that hold the positive ones and none of the negative
ones, joined where it takes several; box: the mask of the largest IoU with it). The network is a YOLOv8 for
segmentation with one class.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sam_model.masks.boxes import box_from_mask
from sam_model.masks.cleaning import MaskCleaning, clean_mask
from sam_model.masks.coco_rle import RunLengths, run_lengths_from_mask
from sam_model.types import Box, Image, Mask, Point, Prompt, ScoredMask
from sam_model.yolo.checkpoint import YoloModel
from sam_model.yolo.decode import masks_of
from sam_model.yolo.detector import YoloDetector

IMAGE_SIZE = 1024  # pixels of the longer side, as FastSAM was trained
SCORE_THRESHOLD = 0.4  # these two as the FastSAM documentation's examples have them
IOU_THRESHOLD = 0.9
MAX_MASKS = 300
OTHERS = 2  # candidates beside the best, as SAM has them


@dataclass(frozen=True, eq=False)
class FoundMask:
    """One of everything in a picture."""

    run_lengths: RunLengths
    box: Box  # around the mask, in pixels
    score: float
    class_id: int

    def holds(self, point: Point) -> bool:
        """Whether the point lies on the mask; the far edges of the picture count as inside."""
        height, width = self.run_lengths.size
        column, row = min(int(point.x), width - 1), min(int(point.y), height - 1)
        ends = np.cumsum(self.run_lengths.counts, dtype=np.int64)
        return bool(np.searchsorted(ends, column * height + row, side="right") % 2)  # every second run is the object


@dataclass(frozen=True, eq=False)
class FastSamEmbedding:
    """Everything in one picture, the surest first."""

    found: tuple[FoundMask, ...]
    image_size: tuple[int, int]  # (height, width) in pixels
    fingerprint: str  # of the segmenter that made it

    @property
    def nbytes(self) -> int:
        """Memory that it holds, in bytes."""
        return sum(one.run_lengths.counts.nbytes for one in self.found)


class FastSamSegmenter:
    """A YOLOv8 for segmentation behind the interface of `sam_model.interfaces.Segmenter`."""

    uses_mask_input = False

    def __init__(
        self,
        model: YoloModel,
        device: str = "cpu",
        dtype: str = "float32",
        image_size: int = IMAGE_SIZE,
        score_threshold: float = SCORE_THRESHOLD,
        iou_threshold: float = IOU_THRESHOLD,
        cleaning: MaskCleaning | None = None,
    ) -> None:
        """Take a model with its weights, and move it to `device`.

        Args:
            model: network and class names; not to be used elsewhere afterwards.
            device: `cpu`, `cuda`, `cuda:1`, `mps` or `auto`.
            dtype: `float32`, `bfloat16` or `float16`.
            image_size: pixels of the longer side that the network sees, a multiple of 32.
            score_threshold: 0..1; what is less sure is not found.
            iou_threshold: 0..1; of two boxes that overlap by more the surer one stays.
            cleaning: what is done to the picked masks afterwards; nothing by default.

        Raises:
            ValueError: the model makes no masks; no such device or precision; another image size.
        """
        if not model.network.has_masks:
            raise ValueError(f"{model.name} makes no masks, so it is no FastSAM; needed: a YOLOv8 for segmentation")
        self.name = f"fastsam_{model.network.size.letter}"
        self.detector = YoloDetector(model, device, dtype, image_size, self.name)
        self.score_threshold, self.iou_threshold = score_threshold, iou_threshold
        self.cleaning = cleaning or MaskCleaning()
        parts = [self.detector.fingerprint, str(score_threshold), str(iou_threshold), str(self.cleaning)]
        self.fingerprint = "-".join(part for part in parts if part)

    def embed(self, image: Image) -> FastSamEmbedding:
        """Find everything in an RGB uint8 image (H, W, 3) once.

        Raises:
            ValueError: not an RGB uint8 image.
        """
        return self.everything(image, self.score_threshold, self.iou_threshold)

    def everything(
        self,
        image: Image,
        score_threshold: float,
        iou_threshold: float,
        image_size: int | None = None,
        class_ids: Collection[int] | None = None,
    ) -> FastSamEmbedding:
        """As `embed`, with other settings and, where given, only with objects of these classes.

        Raises:
            ValueError: not an RGB uint8 image, or a setting that makes no sense.
        """
        found = self.detector.find(
            image,
            score_threshold=score_threshold,
            iou_threshold=iou_threshold,
            max_detections=MAX_MASKS,
            image_size=image_size,
        )
        masks = []
        for place, mask in enumerate(masks_of(found.objects, found.frame)):
            score, class_id = float(found.objects.scores[place]), int(found.objects.class_ids[place])
            box = box_from_mask(mask)
            if box is not None and (class_ids is None or class_id in class_ids):
                masks.append(FoundMask(run_lengths_from_mask(mask), box, score, class_id))
        return FastSamEmbedding(tuple(masks), (image.shape[0], image.shape[1]), self.fingerprint)

    def segment(self, embedding: FastSamEmbedding, prompts: Sequence[Prompt]) -> list[ScoredMask]:
        """The mask that each prompt picks, in the prompts' order; an empty one of score 0 where it picks none.

        A mask input is not looked at: what FastSAM knows of an object is in the picture's masks.

        Raises:
            ValueError: a prompt without points and box, numbers that are not finite, or another model's embedding.
        """
        answers = []
        for prompt, picked in zip(prompts, self.pick(embedding, prompts), strict=True):
            best = picked.scored_mask(embedding.image_size)
            others = tuple(self._cleaned(other, prompt) for other in best.alternatives)
            answers.append(replace(self._cleaned(best, prompt), alternatives=others))
        return answers

    def _cleaned(self, found: ScoredMask, prompt: Prompt) -> ScoredMask:
        return replace(found, mask=clean_mask(found.mask, self.cleaning, prompt.points))

    def pick(self, embedding: FastSamEmbedding, prompts: Sequence[Prompt]) -> list["Picked"]:
        """As `segment`, without making the masks.

        Raises:
            ValueError: as `segment`.
        """
        if embedding.fingerprint != self.fingerprint:
            raise ValueError(f"the embedding was made by {embedding.fingerprint!r}, not by {self.fingerprint!r}")
        for prompt in prompts:
            _check(prompt, embedding.image_size)
        return [pick_from(embedding.found, prompt) for prompt in prompts]


@dataclass(frozen=True, eq=False)
class Picked:
    """What a prompt picks: `parts`, which together are the object, and what it could be instead."""

    parts: tuple[FoundMask, ...] = ()
    alternatives: tuple[FoundMask, ...] = ()

    @property
    def class_id(self) -> int:
        """Of the first part; -1 where there is none."""
        return self.parts[0].class_id if self.parts else -1

    def scored_mask(self, image_size: tuple[int, int]) -> ScoredMask:
        """All parts as one mask, with the lowest of their scores; an empty one of score 0 where there is none."""
        mask: Mask = np.zeros(image_size, dtype=bool)
        for part in self.parts:
            mask |= part.run_lengths.mask
        others = tuple(ScoredMask(one.run_lengths.mask, one.score) for one in self.alternatives)
        return ScoredMask(mask, min((part.score for part in self.parts), default=0.0), alternatives=others)


def pick_from(found: Sequence[FoundMask], prompt: Prompt) -> Picked:
    """What a prompt picks from `found`, the surest first; as alternatives two more where it asks for several."""
    negative = [point for point in prompt.points if not point.is_positive]
    positive = [point for point in prompt.points if point.is_positive]
    allowed = [one for one in found if not any(one.holds(point) for point in negative)]
    fitting = [one for one in allowed if all(one.holds(point) for point in positive)]
    count = 1 + OTHERS if prompt.multimask else 1
    if prompt.box is not None:
        fitting = by_box_overlap(fitting or allowed, prompt.box, count)
    elif not positive:
        return Picked()  # what is not the object says nothing of what is
    elif not fitting:
        surest = [next((one for one in allowed if one.holds(point)), None) for point in positive]
        return Picked(tuple(dict.fromkeys(one for one in surest if one is not None)))
    return Picked(tuple(fitting[:1]), tuple(fitting[1:count]))


def by_box_overlap(found: Sequence[FoundMask], box: Box, count: int = 1) -> list[FoundMask]:
    """The `count` masks that overlap `box` most, by the IoU of pixels, the best first; none where none overlaps."""
    best: list[tuple[float, FoundMask]] = []
    bounds = sorted(((_highest_iou(one, box), place) for place, one in enumerate(found)), key=lambda x: (-x[0], x[1]))
    for bound, place in bounds:
        if bound == 0 or (len(best) == count and bound <= best[-1][0]):
            break  # none of the rest can be better: their masks need not be made
        best.append((_iou(found[place], box), found[place]))
        best = sorted(best, key=lambda x: -x[0])[:count]
    return [one for iou, one in best if iou > 0]


def _iou(one: FoundMask, box: Box) -> float:
    """The overlap of mask and box, whose edges count in whole pixels."""
    x_min, y_min, x_max, y_max = (max(0, round(edge)) for edge in box)
    inside = np.count_nonzero(one.run_lengths.mask[y_min:y_max, x_min:x_max])
    height, width = one.run_lengths.size
    area = max(0, min(x_max, width) - x_min) * max(0, min(y_max, height) - y_min)
    return inside / (one.run_lengths.area + area - inside)


def _highest_iou(one: FoundMask, box: Box) -> float:
    """What the overlap of mask and box cannot exceed, from the box around the mask."""
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
        if not (0 <= point.x <= width and 0 <= point.y <= height):  # false for NaN, too
            raise ValueError(f"point ({point.x}, {point.y}) is outside the image of {width} x {height} pixels")
    if prompt.box is not None and not all(map(math.isfinite, prompt.box)):
        raise ValueError(f"box {prompt.box} has numbers that are not finite")
