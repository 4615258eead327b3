"""Refinement of a region that a task has already: a click inside it, with the region's mask as a prompt."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from sam_backend.protocol.regions import KeyPoint, PromptRegion
from sam_backend.protocol.requests import Task
from sam_backend.protocol.task_regions import DrawnRegion, drawn_regions
from sam_backend.shapes.masks import mask_from_region
from sam_model.interfaces import Segmenter
from sam_model.types import Mask, Point, Prompt

logger = logging.getLogger(__name__)

MAX_REGIONS = 100  # decoded for one click
INNER_POINTS = 3  # in place of the mask, for segmenters that take no mask


@dataclass(frozen=True, eq=False)
class RefinedRegion:
    """A region of the task and its mask (H, W)."""

    id: str
    mask: Mask


def region_to_refine(task: Task, prompts: Sequence[PromptRegion], image_size: tuple[int, int]) -> RefinedRegion | None:
    """Return the smallest region with the same label, page and image around the first point of an object.

    Args:
        task: with its drafts and annotations.
        prompts: of one object; with a rectangle among them nothing is refined.
        image_size: (height, width) of the image.
    """
    first = prompts[0]
    if task.source is None or not all(isinstance(prompt.shape, KeyPoint) for prompt in prompts):
        return None
    assert isinstance(first.shape, KeyPoint)
    height, width = image_size
    row = min(max(int(first.shape.y * height / 100), 0), height - 1)
    column = min(max(int(first.shape.x * width / 100), 0), width - 1)
    found: RefinedRegion | None = None
    candidates = [region for region in drawn_regions(task.source.stored()) if _fits(region, first, image_size)]
    for region in candidates[:MAX_REGIONS]:
        mask = mask_from_region(region)
        if mask is None or not mask[row, column]:
            continue
        if found is None or np.count_nonzero(mask) < np.count_nonzero(found.mask):
            found = RefinedRegion(region.id, mask)
    if found is not None:
        logger.info("%s: the click refines region %s", task.name, found.id[:40])
    return found


def _fits(region: DrawnRegion, prompt: PromptRegion, image_size: tuple[int, int]) -> bool:
    has_label = not prompt.labels or not region.labels or bool(region.labels & set(prompt.labels))
    is_here = region.to_name == prompt.to_name and (region.item_index or 0) == (prompt.item_index or 0)
    return has_label and is_here and region.size == image_size


def refining_prompt(segmenter: Segmenter[Any], prompt: Prompt, mask: Mask) -> Prompt:
    """Return a prompt with the mask (H, W) of a region; points inside it if the segmenter takes no mask."""
    if segmenter.uses_mask_input:
        return replace(prompt, mask=mask)
    negative = [point for point in prompt.points if not point.is_positive]
    return replace(prompt, points=(*_inner_points(mask, negative), *prompt.points))


def _inner_points(mask: Mask, negative: Sequence[Point]) -> list[Point]:
    """Return points far from the border of a mask, from negative points, and from each other."""
    height, width = mask.shape
    free = np.pad(mask, 1).astype(np.uint8)
    for point in negative:
        free[min(int(point.y), height - 1) + 1, min(int(point.x), width - 1) + 1] = 0
    points = []
    for _ in range(INNER_POINTS):
        distance = cv2.distanceTransform(free, cv2.DIST_L2, 5)
        row, column = np.unravel_index(int(distance.argmax()), distance.shape)
        if distance[row, column] <= 0:
            break
        points.append(Point(float(column) - 0.5, float(row) - 0.5))
        free[row, column] = 0
    return points
