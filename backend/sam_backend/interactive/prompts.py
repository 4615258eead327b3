"""Regions of a person -> prompts of the segmenter: which regions mean one object, and percent -> pixels.

Percent ends here: behind this door are pixels of the upright original.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

from sam_backend.protocol.regions import KeyPoint, PromptRegion, RotatedRectangle
from sam_model.types import Box, Point, Prompt

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ObjectPrompt:
    """The regions that mean one object, never none, and what they say in pixels."""

    regions: tuple[PromptRegion, ...]
    prompt: Prompt


def regions_by_object(regions: Sequence[PromptRegion]) -> list[tuple[PromptRegion, ...]]:
    """Sort regions into objects: of one page, one image tag and one label each.

    Every rectangle is an object of its own. Key points alone are one object together. From callers that send both (the
    editor never does), a point belongs to the rectangle it lies in, to the only rectangle where there is but one, and
    else to an object of the points that are left; a negative point that lies in no rectangle says "not here" to all.
    """
    groups: dict[tuple[object, ...], list[PromptRegion]] = {}
    for region in regions:
        groups.setdefault((region.item_index or 0, region.to_name, region.labels), []).append(region)
    return [found for group in groups.values() for found in _objects_of_one_label(group)]


def _objects_of_one_label(group: list[PromptRegion]) -> list[tuple[PromptRegion, ...]]:
    rectangles = [region for region in group if isinstance(region.shape, RotatedRectangle)]
    points = [region for region in group if isinstance(region.shape, KeyPoint)]
    if len(rectangles) <= 1:
        return [(*rectangles, *points)]
    members = {rectangle.id: [rectangle] for rectangle in rectangles}
    left_over = []
    for point in points:
        around = [rectangle for rectangle in rectangles if _lies_in(point, rectangle)]
        if around:
            members[min(around, key=_area).id].append(point)
        else:
            left_over.append(point)
    positive_left_over = any(point.shape.is_positive for point in left_over if isinstance(point.shape, KeyPoint))
    if not positive_left_over:
        return [(*of_one, *left_over) for of_one in members.values()]
    return [*(tuple(of_one) for of_one in members.values()), tuple(left_over)]


def _lies_in(point: PromptRegion, rectangle: PromptRegion) -> bool:
    assert isinstance(point.shape, KeyPoint)
    assert isinstance(rectangle.shape, RotatedRectangle)
    x_min, y_min, x_max, y_max = box_around(rectangle.shape, rectangle.original_size or (1, 1))
    height, width = rectangle.original_size or (1, 1)
    x, y = point.shape.x * width / 100, point.shape.y * height / 100
    return x_min <= x <= x_max and y_min <= y <= y_max


def _area(rectangle: PromptRegion) -> float:
    assert isinstance(rectangle.shape, RotatedRectangle)
    return abs(rectangle.shape.width * rectangle.shape.height)


def prompt_from_regions(regions: Sequence[PromptRegion], image_size: tuple[int, int]) -> Prompt | None:
    """The prompt of one object, in pixels of an image of `image_size` (height, width).

    Points beyond the edge are moved onto it; positions keep their fractions. None where the regions do not say where
    the object is: negative points alone, or a rectangle without area inside the image.
    """
    height, width = image_size
    points = []
    box = None
    for region in regions:
        if isinstance(region.shape, KeyPoint):
            x = min(max(region.shape.x * width / 100, 0.0), float(width))
            y = min(max(region.shape.y * height / 100, 0.0), float(height))
            points.append(Point(x, y, region.shape.is_positive))
        else:
            box = box_around(region.shape, image_size)
            if box[0] >= box[2] or box[1] >= box[3]:
                logger.warning("region %s: the rectangle has no area inside the image", region.id[:40])
                box = None
    if box is None and not any(point.is_positive for point in points):
        return None
    return Prompt(points=tuple(points), box=box)


def box_around(rectangle: RotatedRectangle, image_size: tuple[int, int]) -> Box:
    """The upright box in pixels around a rotated rectangle, cut at the edges of an image of `image_size`.

    The rotation is meant in pixels: in percent of unequal sides the corners would not stay square.
    """
    height, width = image_size
    left, top = rectangle.x * width / 100, rectangle.y * height / 100
    across, down = rectangle.width * width / 100, rectangle.height * height / 100
    turn = math.radians(rectangle.rotation)
    cos, sin = math.cos(turn), math.sin(turn)
    corners = [(u * cos - v * sin, u * sin + v * cos) for u in (0.0, across) for v in (0.0, down)]
    xs = [min(max(left + x, 0.0), float(width)) for x, _ in corners]
    ys = [min(max(top + y, 0.0), float(height)) for _, y in corners]
    return min(xs), min(ys), max(xs), max(ys)
