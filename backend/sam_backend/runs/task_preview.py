"""A task as a run would annotate it: its reduced image and the outlines of the objects."""

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from sam_backend.preannotation.object_sources import FoundObject
from sam_backend.preannotation.outcome import BulkTask, Outcome
from sam_backend.preannotation.preannotator import Preannotator
from sam_model.images.encode import jpeg_from_image
from sam_model.masks.coco_rle import RunLengths, run_lengths_from_mask
from sam_model.masks.overlay import draw_overlay
from sam_model.masks.polygons import polygons_from_mask
from sam_model.types import Image, Mask

LONGEST_SIDE = 720  # pixels of a preview image
JPEG_QUALITY = 88
TOLERANCE = 0.7  # pixels between an outline and the edge of its mask


@dataclass(frozen=True, eq=False)
class PreviewObject:
    """An object with its mask in the reduced image; None if it is on a page that is not shown."""

    label: str
    score: float
    mask: RunLengths | None

    @property
    def outline(self) -> str:
        """The mask as the data of an SVG path with the fill rule `evenodd`, in pixels of the reduced image."""
        return "" if self.mask is None else path_from_mask(self.mask.mask)


@dataclass(frozen=True, eq=False)
class TaskPreview:
    """A task as the run would annotate it; `jpeg` is its first page with objects, None if the task failed."""

    task_id: int
    jpeg: bytes | None
    labels: dict[str, int]
    error: str | None = None
    objects: tuple[PreviewObject, ...] = ()
    size: tuple[int, int] = (0, 0)  # width and height of the reduced image

    @property
    def drawn_jpeg(self) -> bytes | None:
        """The reduced image with the masks in colours."""
        if self.jpeg is None:
            return None
        masks = [one.mask for one in self.objects if one.mask is not None]
        image = cv2.imdecode(np.frombuffer(self.jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
        return jpeg_from_image(draw_overlay(np.asarray(image, np.uint8), masks), quality=JPEG_QUALITY)


def path_from_mask(mask: Mask) -> str:
    """Return the outlines of a mask (H, W) as the data of an SVG path, such as `M1 1L3 1L3 3Z`."""
    outlines = [
        outline
        for polygon in polygons_from_mask(mask, TOLERANCE)
        for outline in (polygon.outer, *polygon.holes)
        if len(outline) > 2
    ]
    return "".join(f"M{'L'.join(f'{x:.0f} {y:.0f}' for x, y in outline)}Z" for outline in outlines)


@dataclass
class _Pages:
    """Reduced images of a task's pages, with the objects found on them."""

    images: dict[int, Image] = field(default_factory=dict)
    found: list[tuple[int, PreviewObject]] = field(default_factory=list)

    def add(self, page: int, image: Image, found: FoundObject) -> None:
        self.images.setdefault(page, _reduced(image, cv2.INTER_AREA))
        mask = _reduced(found.mask.view(np.uint8), cv2.INTER_NEAREST_EXACT).view(np.bool_)
        label = "".join(found.target.labels[:1])
        self.found.append((page, PreviewObject(label, found.score, run_lengths_from_mask(mask))))


def preview_task(preannotator: Preannotator, task: BulkTask) -> tuple[TaskPreview, Outcome]:
    """Return a task as the run would annotate it, and the run's outcome for it."""
    fetched = preannotator.fetch(task)
    if isinstance(fetched, Outcome):
        return TaskPreview(task.id, None, {}, fetched.error), fetched
    pages = _Pages()
    outcome = preannotator.annotate(fetched, pages.add)
    if outcome.error is not None:
        return TaskPreview(task.id, None, {}, outcome.error), outcome
    shown = min(pages.images, default=0)
    image, first = pages.images.get(shown), fetched.pages[0].content
    if image is None and not isinstance(first, bytes):
        image = _reduced(first, cv2.INTER_AREA)
    objects = tuple(one if page == shown else PreviewObject(one.label, one.score, None) for page, one in pages.found)
    if image is None:
        return TaskPreview(task.id, None, dict(outcome.labels)), outcome
    jpeg, size = jpeg_from_image(image, quality=JPEG_QUALITY), (image.shape[1], image.shape[0])
    return TaskPreview(task.id, jpeg, dict(outcome.labels), None, objects, size), outcome


def _reduced(image: Any, interpolation: int) -> Any:
    height, width = image.shape[:2]
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size, interpolation=interpolation)
