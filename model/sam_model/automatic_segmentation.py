"""Segmentation of everything in an image, with any segmenter.

SAM and FastSAM use their own methods. Other segmenters are prompted with a grid of points.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sam_model.interfaces import Segmenter
from sam_model.masks.boxes import box_from_mask, non_maximum_suppression
from sam_model.masks.coco_rle import RunLengths, run_lengths_from_mask
from sam_model.types import Box, Image, Point, Prompt

POINTS_PER_SIDE = 8  # of the grid: 64 points, a few seconds with the classical segmenter
POINTS_PER_BATCH = 8  # masks that exist at full size at the same time
MIN_AREA, MAX_AREA = 0.0005, 0.6  # shares of the image; a smaller mask is noise, a larger one is background
PROPOSAL_SCORE, PROPOSAL_IOU = 0.1, 0.9  # minimum score, and maximum overlap of boxes, of a FastSAM's proposals
DUPLICATE_IOU = 0.7  # of two masks whose boxes have a larger IoU, the highest-scoring one is kept


@dataclass(frozen=True, eq=False)
class SegmentedObject:
    """A mask that was found without a prompt, with its box in pixels and its score, around 0..1."""

    run_lengths: RunLengths
    box: Box
    score: float


def segment_automatically(
    segmenter: Segmenter[Any],
    image: Image,
    score_threshold: float = 0.0,
    *,
    embed: Callable[[], Any] | None = None,
    points_per_side: int | None = None,
) -> list[SegmentedObject]:
    """Return all masks that a segmenter finds without prompts, highest-scoring first.

    Args:
        segmenter: any segmenter.
        image: RGB uint8 (H, W, 3).
        score_threshold: minimum score.
        embed: returns the image's embedding by the segmenter, where the caller may have it; used with the point grid.
        points_per_side: of the grid of points; None for 32 with a SAM and `POINTS_PER_SIDE` with others. FastSAM has no
            grid.

    Raises:
        ValueError: `image` is not RGB uint8.
    """
    found = [one for one in _segmented(segmenter, image, embed, points_per_side) if one.score >= score_threshold]
    return sorted(found, key=lambda one: -one.score)


def propose_objects(segmenter: Segmenter[Any], image: Image, limit: int = 1000) -> list[SegmentedObject]:
    """Return at most `limit` masks that may be an object, highest-scoring first.

    There are more of them than `segment_automatically` returns, so that few objects are missing.

    Args:
        segmenter: any segmenter; SAM uses the method of its paper, FastSAM a low score threshold.
        image: RGB uint8 (H, W, 3).
        limit: maximum number of masks.

    Raises:
        ValueError: `image` is not RGB uint8.
    """
    if hasattr(segmenter, "model"):  # only a SAM has a model; then PyTorch is imported already
        from sam_model.sam.automatic_masks import proposals

        found = proposals(segmenter, image, limit=limit)  # type: ignore[arg-type]  # see above
        return [SegmentedObject(one.run_lengths, one.box, one.score) for one in found]
    if hasattr(segmenter, "find_masks"):  # a FastSAM
        masks = segmenter.find_masks(image, PROPOSAL_SCORE, PROPOSAL_IOU).masks
        return [SegmentedObject(one.run_lengths, one.box, one.score) for one in masks[:limit]]
    return segment_automatically(segmenter, image)[:limit]


def _segmented(
    segmenter: Segmenter[Any], image: Image, embed: Callable[[], Any] | None, points_per_side: int | None
) -> Iterator[SegmentedObject]:
    if hasattr(segmenter, "model"):  # only a SAM has a model; then PyTorch is imported already
        from sam_model.sam.automatic_mask_settings import AutomaticMaskSettings
        from sam_model.sam.automatic_masks import segment_everything

        settings = None
        if points_per_side is not None:
            least = segmenter.model.everything_iou
            settings = AutomaticMaskSettings(points_per_side=points_per_side, pred_iou_thresh=least)
        for mask in segment_everything(segmenter, image, settings):  # type: ignore[arg-type]  # see above
            yield SegmentedObject(mask.run_lengths, mask.box, mask.predicted_iou)
    elif hasattr(segmenter, "find_masks"):  # a FastSAM
        for one in segmenter.embed(image).masks:
            yield SegmentedObject(one.run_lengths, one.box, one.score)
    else:
        embedding = segmenter.embed(image) if embed is None else embed()
        yield from _segmented_by_points(segmenter, embedding, points_per_side or POINTS_PER_SIDE)


def _segmented_by_points(segmenter: Segmenter[Any], embedding: Any, per_side: int) -> Iterator[SegmentedObject]:
    """Segment at a grid of points, and drop duplicates."""
    height, width = embedding.image_size
    positions = (np.arange(per_side) + 0.5) / per_side
    prompts = [Prompt(points=(Point(x * width, y * height),)) for y in positions for x in positions]
    found: list[SegmentedObject] = []
    for start in range(0, len(prompts), POINTS_PER_BATCH):
        for scored in segmenter.segment(embedding, prompts[start : start + POINTS_PER_BATCH]):
            box = box_from_mask(scored.mask)
            if box is not None and MIN_AREA <= float(scored.mask.mean()) <= MAX_AREA:
                found.append(SegmentedObject(run_lengths_from_mask(scored.mask), box, scored.score))
    boxes = np.array([one.box for one in found], np.float32).reshape(-1, 4)
    scores = np.array([one.score for one in found], np.float32)
    for index in non_maximum_suppression(boxes, scores, DUPLICATE_IOU):
        yield found[index]
