"""Everything in a picture by any segmenter: SAM's own way, FastSAM's own way, a grid of clicks for the others."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sam_model.interfaces import Segmenter
from sam_model.masks.boxes import box_from_mask, non_maximum_suppression
from sam_model.masks.coco_rle import RunLengths, run_lengths_from_mask
from sam_model.types import Box, Image, Point, Prompt

CLICKS_PER_SIDE = 8  # for a segmenter without a way of its own: 64 clicks, a few seconds
CLICKS_AT_ONCE = 8  # their masks are held at full size
SMALLEST, LARGEST = 0.0005, 0.6  # parts of the picture; beyond them it is a speck, or the background
SAME_THING_IOU = 0.7  # of two boxes that overlap by more the better mask stays


@dataclass(frozen=True, eq=False)
class Thing:
    """One thing in a picture: its mask, the box around it in pixels, and a score around 0..1."""

    run_lengths: RunLengths
    box: Box
    score: float


def everything(segmenter: Segmenter[Any], image: Image, score_threshold: float = 0.0) -> list[Thing]:
    """All that `segmenter` finds in an RGB uint8 image (H, W, 3) without being asked, the best first.

    Raises:
        ValueError: not an RGB uint8 image.
    """
    found = [thing for thing in _things(segmenter, image) if thing.score >= score_threshold]
    return sorted(found, key=lambda thing: -thing.score)


def _things(segmenter: Segmenter[Any], image: Image) -> Iterator[Thing]:
    if hasattr(segmenter, "model"):  # a SAM: what imports PyTorch is imported with one only
        from sam_model.sam.automatic_masks import segment_everything

        for mask in segment_everything(segmenter, image):  # type: ignore[arg-type]  # only SAM segmenters have a model
            yield Thing(mask.run_lengths, mask.box, mask.predicted_iou)
    elif hasattr(segmenter, "everything"):  # a FastSAM
        for one in segmenter.embed(image).found:
            yield Thing(one.run_lengths, one.box, one.score)
    else:
        yield from _by_clicks(segmenter, image)


def _by_clicks(segmenter: Segmenter[Any], image: Image) -> Iterator[Thing]:
    """The things under a grid of clicks; one that several clicks mean is found once."""
    height, width = image.shape[:2]
    embedding = segmenter.embed(image)
    places = (np.arange(CLICKS_PER_SIDE) + 0.5) / CLICKS_PER_SIDE
    clicks = [Prompt(points=(Point(x * width, y * height),)) for y in places for x in places]
    found: list[Thing] = []
    for first in range(0, len(clicks), CLICKS_AT_ONCE):
        for scored in segmenter.segment(embedding, clicks[first : first + CLICKS_AT_ONCE]):
            box = box_from_mask(scored.mask)
            share = float(scored.mask.mean())
            if box is not None and SMALLEST <= share <= LARGEST:
                found.append(Thing(run_lengths_from_mask(scored.mask), box, scored.score))
    boxes = np.array([thing.box for thing in found], np.float32).reshape(-1, 4)
    scores = np.array([thing.score for thing in found], np.float32)
    for index in non_maximum_suppression(boxes, scores, SAME_THING_IOU):
        yield found[index]
