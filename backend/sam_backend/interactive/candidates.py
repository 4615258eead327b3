"""Several suggestions for an ambiguous click: a single point can mean a part, an object, or a group.

Source: SAM, arXiv:2304.02643, section 3, "Resolving ambiguity": three masks for one point.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from sam_model.interfaces import Embedding, Segmenter
from sam_model.types import Box, Point, Prompt, ScoredMask

MAX_IOU = 0.85  # of two candidates; a mask that is more similar to a better one is left out
BOX_SHARES = (0.15, 0.4, 0.9)  # of the image's shorter side, for segmenters with one mask for a point


def is_ambiguous(prompt: Prompt) -> bool:
    """Return whether a prompt is a single positive point."""
    return prompt.box is None and len(prompt.points) == 1 and prompt.points[0].is_positive


def candidate_masks(segmenter: Segmenter[Any], embedding: Embedding, prompt: Prompt, count: int) -> list[ScoredMask]:
    """Return up to `count` different masks of a single point: the segmenter's answer, then others by their scores.

    A segmenter with one mask for a point gets boxes of several sizes around it. The scores of these masks say how well
    they fit their boxes, so they cannot be compared with the first one's.
    """
    (best,) = segmenter.segment(embedding, [replace(prompt, multimask=True)])
    others: Iterable[ScoredMask] = best.alternatives
    if not best.alternatives:
        (point,) = prompt.points
        boxes = [_box_around(point, share, embedding.image_size) for share in BOX_SHARES]
        others = segmenter.segment(embedding, [Prompt(prompt.points, box) for box in boxes])
    kept = [best]
    for other in sorted(others, key=lambda mask: -mask.score):
        if other.mask.any() and all(_iou(other, one) <= MAX_IOU for one in kept):
            kept.append(other)
    return kept[:count]


def _box_around(point: Point, share: float, image_size: tuple[int, int]) -> Box:
    height, width = image_size
    half = max(1.0, share * min(height, width) / 2)
    return max(0.0, point.x - half), max(0.0, point.y - half), min(width, point.x + half), min(height, point.y + half)


def _iou(one: ScoredMask, other: ScoredMask) -> float:
    union = np.count_nonzero(one.mask | other.mask)
    return np.count_nonzero(one.mask & other.mask) / union if union else 1.0
