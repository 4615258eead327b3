"""Examples from a project's annotations in Label Studio."""

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import islice
from typing import Any

import cv2
import numpy as np

from sam_backend.embeddings.image_embeddings import ImageEmbeddings
from sam_backend.errors import BackendError, BadRequestError
from sam_backend.exemplars.example_set import ExampleSet, Thumbnail
from sam_backend.exemplars.image_regions import RegionSource
from sam_backend.images.decode import decode_image
from sam_backend.images.fetch import Fetcher, ImageCredentials
from sam_backend.label_studio.client import LabelStudioClient
from sam_backend.label_studio.retry_policy import RetryPolicy
from sam_backend.label_studio.stored_annotations import final_annotation
from sam_backend.label_studio.task_pages import (
    STORED_PAGE_SIZE,
    StoredTask,
    stored_task_pages,
    stored_tasks_of_ids,
)
from sam_backend.protocol.labeling_config import LabelingConfig
from sam_backend.shapes.labeled_objects import LabeledObject, mask_iou, objects_from_results
from sam_model.automatic_segmentation import SegmentedObject
from sam_model.exemplars.descriptors import Descriptors
from sam_model.exemplars.examples import background_of
from sam_model.images.encode import jpeg_from_image
from sam_model.types import Image

logger = logging.getLogger(__name__)

MAX_TASKS = 500  # annotated tasks that are read
MAX_POSITIVE = 500  # examples of one label
MAX_BACKGROUND = 20_000
MAX_THUMBNAILS, THUMBNAIL_SIDE = 12, 96  # examples that are shown; pixels
MARGIN = 0.15  # around an example, as a share of its longer side
KEPT_IOU = 0.5  # with a region of the annotation: a predicted region that has less was rejected
OURS = "label-studio-sam exemplars+"  # begins the model_version of runs with examples


@dataclass(frozen=True)
class ProjectImages:
    """Reads the images of a project's tasks."""

    project: int
    config: LabelingConfig
    to_name: str
    fetcher: Fetcher
    embeddings: ImageEmbeddings
    max_pixels: int
    credentials: ImageCredentials = field(default_factory=ImageCredentials)


@dataclass
class _Collected:
    positive: dict[str, list[Descriptors]] = field(default_factory=dict)
    rejected: dict[str, list[Descriptors]] = field(default_factory=dict)
    background: list[Descriptors] = field(default_factory=list)
    annotations: list[int] = field(default_factory=list)
    thumbnails: list[Thumbnail] = field(default_factory=list)


def examples_reader(
    api: LabelStudioClient, project: int, ids: Sequence[int], retry_policy: RetryPolicy
) -> Callable[[ProjectImages, RegionSource, str], ExampleSet]:
    """Return a function that reads the examples of a project, or those of the tasks with these ids."""

    def read(images: ProjectImages, source: RegionSource, key: str) -> ExampleSet:
        return read_examples(annotated_tasks(api, project, ids, retry_policy), images, source, key)

    return read


def annotated_tasks(
    api: LabelStudioClient, project: int, ids: Sequence[int], retry_policy: RetryPolicy
) -> Iterator[StoredTask]:
    """Yield the annotated, then the skipped tasks of a project, at most `MAX_TASKS` each, or those with these ids."""
    if ids:
        for first in range(0, min(len(ids), MAX_TASKS), STORED_PAGE_SIZE):
            chunk = ids[first : first + STORED_PAGE_SIZE]
            yield from retry_policy.call(partial(stored_tasks_of_ids, api, project, chunk))
        return
    for only_with in ("total_annotations", "cancelled_annotations"):
        pages = stored_task_pages(api, project, retry_policy, only_with=only_with)
        is_skipped = only_with == "cancelled_annotations"  # and not annotated by another annotator
        found = (task for tasks, _ in pages for task in tasks if _is_skipped(task) == is_skipped)
        yield from islice(found, MAX_TASKS)


def read_examples(tasks: Iterator[StoredTask], images: ProjectImages, source: RegionSource, key: str) -> ExampleSet:
    """Return the examples in annotated tasks; a task whose image cannot be read is left out.

    Args:
        tasks: with their annotations and predictions.
        images: the project's images.
        source: proposes and describes regions.
        key: of segmenter and engine, see `regions_key`.

    Raises:
        BadRequestError: no annotated region has a label of the labeling config.
    """
    collected = _Collected()
    for task in tasks:
        annotation = final_annotation(task.annotations)
        if not task.annotations:
            continue
        try:
            _collect(task, annotation, images, source, collected)
        except BackendError as error:
            logger.warning("task %d: its annotation is no example: %s", task.id, error)
    if not collected.positive:
        raise BadRequestError(
            "no annotation has an example: annotate objects in one task first, with regions that have a label"
        )
    length = next(iter(collected.positive.values()))[0].shape[1]
    none = np.empty((0, length), np.float32)
    return ExampleSet(
        key,
        source.describer.name,
        {label: np.concatenate(rows)[-MAX_POSITIVE:] for label, rows in collected.positive.items()},
        {label: np.concatenate(rows) for label, rows in collected.rejected.items()},
        np.concatenate([none, *collected.background])[-MAX_BACKGROUND:],
        tuple(collected.annotations),
        tuple(collected.thumbnails),
    )


def _is_skipped(task: StoredTask) -> bool:
    return bool(task.annotations) and final_annotation(task.annotations) is None


def _collect(
    task: StoredTask,
    annotation: Mapping[str, Any] | None,
    images: ProjectImages,
    source: RegionSource,
    into: _Collected,
) -> None:
    """Add a task's examples; without an annotation the task was skipped, which rejects its predicted regions only."""
    objects = [] if annotation is None else objects_from_results(annotation["result"])[0]
    rejected = _rejected(task, objects)
    if not objects and not rejected:
        return
    for page, address in enumerate(images.config.image(images.to_name).sources(task.data)):
        here = [one for one in objects if one.page == page]
        refused = [one for one in rejected if one.page == page]
        if not here and not refused:
            continue
        given = images.credentials
        data = images.fetcher.fetch(address, task.id, images.project, given.login, given.password)
        digest, image = hashlib.sha256(data).hexdigest(), decode_image(data, images.max_pixels)
        size = (image.shape[0], image.shape[1])
        here, refused = ([one for one in each if one.mask.size == size] for each in (here, refused))

        @cache
        def embed(digest: str = digest, image: Any = image) -> Any:
            return images.embeddings.get(digest, lambda: image, f"task {task.id}")

        for one in here[: MAX_THUMBNAILS - len(into.thumbnails)]:
            into.thumbnails.append(Thumbnail(task.id, one.label, _jpeg_around(one, image)))
        for objects_here, known in ((here, into.positive), (refused, into.rejected)):
            regions = [SegmentedObject(one.mask, one.box, 1.0) for one in objects_here]
            if regions:
                rows = source.describe(image, embed, regions)
                for one, row in zip(objects_here, rows, strict=True):
                    known.setdefault(one.label, []).append(row[None])
        if annotation is None:
            continue
        found = source.regions_of(digest, image, embed)
        into.background.append(background_of(found.regions, found.descriptors, [one.mask.mask for one in here]))
    if objects and annotation is not None:
        into.annotations.append(int(annotation["id"]))


def _jpeg_around(one: LabeledObject, image: Image) -> bytes:
    """Return the part of the image around an object as a small JPEG file."""
    x_min, y_min, x_max, y_max = one.box
    margin = MARGIN * max(x_max - x_min, y_max - y_min)
    columns = slice(max(0, int(x_min - margin)), int(x_max + margin) + 1)
    part = image[max(0, int(y_min - margin)) : int(y_max + margin) + 1, columns]
    scale = min(1.0, THUMBNAIL_SIDE / max(part.shape[:2]))
    size = max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale))
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    return jpeg_from_image(np.asarray(small, np.uint8), quality=90)


def _rejected(task: StoredTask, kept: Sequence[LabeledObject]) -> list[LabeledObject]:
    """Return the regions that earlier runs with examples predicted and the annotator did not keep."""
    found = []
    for prediction in task.predictions:
        if str(prediction.get("model_version") or "").startswith(OURS):
            objects, _ = objects_from_results(prediction.get("result") or [])
            found += [one for one in objects if not any(_is_same(one, each) for each in kept)]
    return found


def _is_same(one: LabeledObject, other: LabeledObject) -> bool:
    return (one.label, one.page) == (other.label, other.page) and mask_iou(one, other) >= KEPT_IOU
