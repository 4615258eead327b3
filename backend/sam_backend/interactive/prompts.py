"""Regions that a user drew -> prompts of the segmenter: which regions refer to one object, and percent to pixels.

Prompts are in pixels of the upright original image.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from sam_backend.interactive.refinement import RefinedRegion
from sam_backend.protocol.regions import KeyPoint, PromptRegion, RotatedRectangle
from sam_backend.shapes.rectangle import box_from_rectangle
from sam_model.types import Point, Prompt

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ObjectPrompt:
    """The regions that refer to one object, at least one, and their prompt in pixels."""

    regions: tuple[PromptRegion, ...]
    prompt: Prompt
    refined: RefinedRegion | None = None


def regions_by_object(
    regions: Sequence[PromptRegion], each_point_an_object: bool = False
) -> list[tuple[PromptRegion, ...]]:
    """Group regions by object; the regions of one object have the same page, image tag and labels.

    Each rectangle is an object of its own. Key points without rectangles are one object together. The editor never
    sends both, but other callers do. Then a point belongs to the smallest rectangle around it, or to the only
    rectangle there is. The other points are an object of their own; if all of them are negative, they are added to
    each object.

    With `each_point_an_object`, each positive key point is an object of its own if there are no rectangles; all
    negative key points are added to each one.
    """
    groups: dict[tuple[object, ...], list[PromptRegion]] = {}
    for region in regions:
        groups.setdefault((region.item_index or 0, region.to_name, region.labels), []).append(region)
    return [
        object_regions
        for group in groups.values()
        for object_regions in _objects_of_one_label(group, each_point_an_object)
    ]


def _objects_of_one_label(group: list[PromptRegion], each_point_an_object: bool) -> list[tuple[PromptRegion, ...]]:
    rectangles = [region for region in group if isinstance(region.shape, RotatedRectangle)]
    points = [region for region in group if isinstance(region.shape, KeyPoint)]
    positive = [point for point in points if isinstance(point.shape, KeyPoint) and point.shape.is_positive]
    if each_point_an_object and not rectangles and len(positive) > 1:
        negative = [point for point in points if point not in positive]
        return [(point, *negative) for point in positive]
    if len(rectangles) <= 1:
        return [(*rectangles, *points)]
    members = {rectangle.id: [rectangle] for rectangle in rectangles}
    outside = []
    for point in points:
        around = [rectangle for rectangle in rectangles if _is_inside(point, rectangle)]
        if around:
            members[min(around, key=_area).id].append(point)
        else:
            outside.append(point)
    is_any_positive = any(point.shape.is_positive for point in outside if isinstance(point.shape, KeyPoint))
    if not is_any_positive:
        return [(*object_regions, *outside) for object_regions in members.values()]
    return [*(tuple(object_regions) for object_regions in members.values()), tuple(outside)]


def _is_inside(point: PromptRegion, rectangle: PromptRegion) -> bool:
    assert isinstance(point.shape, KeyPoint)
    assert isinstance(rectangle.shape, RotatedRectangle)
    height, width = rectangle.original_size or (1, 1)
    x_min, y_min, x_max, y_max = box_from_rectangle(rectangle.shape, (height, width))
    x, y = point.shape.x * width / 100, point.shape.y * height / 100
    return x_min <= x <= x_max and y_min <= y <= y_max


def _area(rectangle: PromptRegion) -> float:
    assert isinstance(rectangle.shape, RotatedRectangle)
    return abs(rectangle.shape.width * rectangle.shape.height)


def prompt_from_regions(
    regions: Sequence[PromptRegion], image_size: tuple[int, int], *, needs_positive: bool = True
) -> Prompt | None:
    """Return the prompt of one object, in pixels of an image of `image_size` (height, width).

    Points outside the image are moved to its edge. Coordinates are not rounded. Returns None if the regions do not
    tell where the object is: negative points only, or a rectangle without area inside the image. Without
    `needs_positive`, negative points are enough.
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
            box = box_from_rectangle(region.shape, image_size)
            if box[0] >= box[2] or box[1] >= box[3]:
                logger.warning("region %s: rectangle without area inside the image, ignored", region.id[:40])
                box = None
    if box is None and not any(point.is_positive or not needs_positive for point in points):
        return None
    return Prompt(points=tuple(points), box=box)
