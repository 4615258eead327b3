"""The regions of an image that are like examples: each object once, with its label, score and mask."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sam_model.automatic_segmentation import SegmentedObject
from sam_model.box_segmentation import segment_boxes
from sam_model.exemplars.descriptors import Descriptors
from sam_model.exemplars.further_regions import Score
from sam_model.interfaces import Segmenter
from sam_model.masks.overlap import iou_of_masks, overlap_share
from sam_model.types import Mask

MAX_OVERLAP = 0.5  # share of the smaller of two regions; the one with the higher score is kept
MIN_AGREEMENT = 0.85  # IoU with the region that a mask of its box needs to replace it


@dataclass(frozen=True)
class Match:
    """A region like the examples of `label`: its position among the proposals, and its score in 0..1."""

    position: int
    label: str
    score: float


def match_regions(
    regions: Sequence[SegmentedObject],
    descriptors: Descriptors,
    scores: Mapping[str, Score],
    thresholds: Mapping[str, float],
) -> list[Match]:
    """Return the regions that are like the examples, without overlaps, highest-scoring first.

    Args:
        regions: the proposals of an image.
        descriptors: of the proposals (N, D).
        scores: of each label.
        thresholds: the minimum score of each label.
    """
    if not regions:
        return []
    labels = list(scores)
    table = np.stack([scores[label](descriptors) for label in labels], axis=1)  # (N, labels)
    best = table.argmax(axis=1)
    found: list[Match] = []
    masks: list[Mask] = []
    for position in np.argsort(-table.max(axis=1), kind="stable"):
        label, score = labels[best[position]], float(table[position, best[position]])
        if score < thresholds[label]:
            continue
        mask = regions[position].run_lengths.mask
        if all(overlap_share(mask, other) <= MAX_OVERLAP for other in masks):
            found.append(Match(int(position), label, score))
            masks.append(mask)
    return found


def exact_masks(
    segmenter: Segmenter[Any], embedding: Any, regions: Sequence[SegmentedObject], matches: Sequence[Match]
) -> Iterator[tuple[Match, Mask]]:
    """Yield each match with its mask (H, W): the segmenter's mask of the region's box where both agree."""
    boxes = [regions[match.position].box for match in matches]
    for match, scored in zip(matches, segment_boxes(segmenter, embedding, boxes), strict=True):
        mask = regions[match.position].run_lengths.mask
        yield match, scored.mask if iou_of_masks(mask, scored.mask) >= MIN_AGREEMENT else mask
