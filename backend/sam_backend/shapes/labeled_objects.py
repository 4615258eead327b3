"""The results of an annotation or a prediction -> objects with a label and a mask.

Results with the same id are one object: with a `<Labels>` palette each region is two results. The parts of a brush
stroke or of a bitmask stay one object.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from sam_backend.protocol.regions import MAX_SIDE
from sam_backend.protocol.task_regions import RegionValue
from sam_backend.shapes.masks import mask_from_value
from sam_model.masks.boxes import box_from_mask
from sam_model.masks.coco_rle import RunLengths, intersection_area, run_lengths_from_mask
from sam_model.types import Box

KINDS = frozenset({"brush", "bitmask", "polygon", "rectangle", "ellipse", "vector"})  # with an area
PROMPTS = "keypointlabels"  # the editor adds such a result to an accepted mask; its label is that of the prompt


@dataclass(frozen=True, eq=False)
class LabeledObject:
    """One region: its first label (empty if it has none), its mask and its score if a model set one."""

    region_id: str
    kind: str  # one of KINDS
    label: str
    score: float | None
    page: int  # of a multi-page item; 0 for a single image
    mask: RunLengths  # not empty
    box: Box  # around the mask


def objects_from_results(results: Sequence[Any]) -> tuple[list[LabeledObject], int]:
    """Return the objects of a stored `result`, in its order, and the number of regions whose mask cannot be read.

    Args:
        results: the parsed JSON list; results that have no area, such as choices and key points, are left out.
    """
    shapes: dict[str, dict[str, Any]] = {}
    labels: dict[str, list[str]] = {}
    for result in results:
        if not isinstance(result, dict):
            continue
        region_id, kind = str(result.get("id")), str(result.get("type", "")).lower()
        if kind.removesuffix("labels") in KINDS:
            shapes.setdefault(region_id, result)
        if kind.endswith("labels") and kind != PROMPTS:
            value = result.get("value") or {}
            labels.setdefault(region_id, []).extend(map(str, value.get(kind) or value.get("labels") or ()))
    found, unreadable = [], 0
    for region_id, result in shapes.items():
        one = _object(region_id, result, labels.get(region_id, []))
        if one is None:
            unreadable += 1
        else:
            found.append(one)
    return found, unreadable


def mask_iou(one: LabeledObject, other: LabeledObject) -> float:
    """Return the IoU of two objects of one image; 0 if their images have different sizes."""
    if one.mask.size != other.mask.size or not _boxes_overlap(one, other):
        return 0.0
    common = intersection_area(one.mask, other.mask)
    return common / (one.mask.area + other.mask.area - common)


def _object(region_id: str, result: dict[str, Any], labels: list[str]) -> LabeledObject | None:
    size = result.get("original_height"), result.get("original_width")
    if not all(isinstance(side, int) and 0 < side <= MAX_SIDE for side in size):
        return None
    try:
        value = msgspec.convert(result.get("value"), RegionValue)
    except msgspec.ValidationError:
        return None
    mask = mask_from_value(value, size)  # type: ignore[arg-type]  # two ints, checked
    box = None if mask is None else box_from_mask(mask)
    if mask is None or box is None:
        return None
    score = result.get("score")
    return LabeledObject(
        region_id=region_id,
        kind=str(result["type"]).lower().removesuffix("labels"),
        label=labels[0] if labels else "",
        score=float(score) if isinstance(score, int | float) else None,
        page=int(result.get("item_index") or 0),
        mask=run_lengths_from_mask(mask),
        box=box,
    )


def _boxes_overlap(one: LabeledObject, other: LabeledObject) -> bool:
    return (
        one.box[0] < other.box[2]
        and other.box[0] < one.box[2]
        and one.box[1] < other.box[3]
        and other.box[1] < one.box[3]
    )
