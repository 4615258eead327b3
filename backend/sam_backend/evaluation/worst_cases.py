"""Images of the predictions that people had to change most: predicted mask, final mask, and the task."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from sam_backend.errors import BackendError
from sam_backend.evaluation.evaluation import Choose
from sam_backend.evaluation.matching import PredictedRegion
from sam_backend.label_studio.client import LabelStudioClient
from sam_backend.label_studio.retry_policy import RetryPolicy
from sam_backend.label_studio.stored_annotations import final_annotation
from sam_backend.label_studio.task_pages import StoredTask, stored_tasks_of_ids
from sam_backend.protocol.labeling_config import LabelingConfig
from sam_backend.shapes.labeled_objects import LabeledObject, objects_from_results
from sam_model.images.encode import jpeg_from_image
from sam_model.masks.coco_rle import RunLengths, run_lengths_from_mask
from sam_model.masks.overlay import draw_overlay
from sam_model.types import Image

PREDICTED, FINAL = (213, 64, 43), (26, 150, 90)  # RGB
MARGIN = 0.6  # of the object's size, around it
MIN_SIDE, MAX_SIDE = 160, 360  # pixels of a drawn image

FetchImage = Callable[[str, int], Image]  # of a data value and its task, decoded


@dataclass(frozen=True)
class WorstCase:
    """A region with its drawing as a data URL; `problem` says why there is none."""

    region: PredictedRegion
    drawing: str | None
    problem: str = ""


def draw_worst_cases(
    regions: Sequence[PredictedRegion],
    api: LabelStudioClient,
    project: int,
    labeling_config: str,
    choose: Choose,
    fetch_image: FetchImage,
    retry_policy: RetryPolicy,
) -> list[WorstCase]:
    """Read the tasks of these regions again and draw each region on its image."""
    tag = LabelingConfig.from_xml(labeling_config).image()
    ids = sorted({one.task for one in regions})
    stored = retry_policy.call(lambda: stored_tasks_of_ids(api, project, ids)) if ids else []
    tasks = {task.id: task for task in stored}
    cases = []
    for one in regions:
        task = tasks.get(one.task)
        try:
            drawing = None if task is None else _drawing(one, task, tag.sources(task.data), choose, fetch_image)
        except BackendError as error:
            cases.append(WorstCase(one, None, str(error)))
            continue
        cases.append(WorstCase(one, drawing, "" if drawing else "the task or its regions are no longer there"))
    return cases


def _drawing(
    region: PredictedRegion, task: StoredTask, pages: Sequence[str], choose: Choose, fetch_image: FetchImage
) -> str | None:
    prediction, annotation = choose(task.predictions), final_annotation(task.annotations)
    if prediction is None or annotation is None:
        return None
    predicted, _ = objects_from_results(prediction["result"])
    one = next((one for one in predicted if one.region_id == region.region_id), None)
    if one is None or one.page >= len(pages):
        return None
    final = [each for each in objects_from_results(annotation["result"])[0] if each.page == one.page]
    image = fetch_image(pages[one.page], task.id)
    if image.shape[:2] != one.mask.size:
        return None
    return _jpeg_url(_drawn(image, one, [each for each in final if each.mask.size == one.mask.size]))


def _drawn(image: Image, predicted: LabeledObject, final: Sequence[LabeledObject]) -> Image:
    """Return the part of the image around a region with the final masks and, above them, the predicted one."""
    x_min, y_min, x_max, y_max = predicted.box
    margin = max(MARGIN * max(x_max - x_min, y_max - y_min), 20)
    height, width = image.shape[:2]
    left, top = max(0, int(x_min - margin)), max(0, int(y_min - margin))
    right, bottom = min(width, int(x_max + margin)), min(height, int(y_max + margin))
    scale = min(MAX_SIDE / max(right - left, bottom - top), 8.0)
    scale = max(scale, MIN_SIDE / max(right - left, bottom - top)) if scale > 1 else scale
    size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))

    def part(mask: RunLengths) -> RunLengths:
        cut = mask.mask[top:bottom, left:right].astype(np.uint8)
        return run_lengths_from_mask(cv2.resize(cut, size, interpolation=cv2.INTER_NEAREST_EXACT).view(np.bool_))

    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = np.asarray(cv2.resize(image[top:bottom, left:right], size, interpolation=interpolation), np.uint8)
    masks = [*(part(one.mask) for one in final), part(predicted.mask)]
    colours = [FINAL] * len(final) + [PREDICTED]
    shown = [(mask, colour) for mask, colour in zip(masks, colours, strict=True) if mask.area]
    return draw_overlay(
        small, [mask for mask, _ in shown], opacity=0.3, colours=[colour for _, colour in shown]
    )  # fmt: skip


def _jpeg_url(image: Image) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg_from_image(image, quality=82)).decode()
