"""A mask -> the results of its regions, in the shape that a control tag takes; the same for clicks, runs and folders.

Source: label-studio 1.23.2, what its editor draws and what its import accepts (label_studio_sdk 2.1.2,
label_interface/interface.py).
"""

from collections.abc import Iterator
from typing import Any

from sam_backend.protocol.predictions import ResultJson, score_for_label_studio
from sam_backend.shapes.bitmask import bitmask_value
from sam_backend.shapes.brush import brush_value
from sam_backend.shapes.ellipse import ellipse_value
from sam_backend.shapes.polygon import DEFAULT_STYLE, PolygonStyle, polygon_values
from sam_backend.shapes.rectangle import rectangle_value, rotated_rectangle_value
from sam_backend.shapes.targets import RegionTarget
from sam_backend.shapes.vector import vector_values
from sam_model.types import Mask


def results_from_mask(
    mask: Mask,
    target: RegionTarget,
    region_ids: Iterator[str],
    score: float,
    item_index: int | None = None,
    style: PolygonStyle = DEFAULT_STYLE,
) -> list[ResultJson]:
    """Return the results of a mask (H, W), which has the size of the image that the browser shows.

    Args:
        mask: not empty, unless the shape is `brush` or `bitmask`.
        target: where the regions go.
        region_ids: gives the id of each region; polygons may need several.
        score: 0..1, of each region.
        item_index: page of a multi-page item; None for a single image.
        style: of polygons and vectors.

    Raises:
        ValueError: an empty mask has no rectangle and no ellipse.
    """
    size = (mask.shape[0], mask.shape[1])
    return [
        result
        for value, region_id in zip(_region_values(mask, target.shape, style), region_ids, strict=False)
        for result in _region_results(value, size, target, region_id, score, item_index)
    ]


def _region_values(mask: Mask, shape: str, style: PolygonStyle) -> list[dict[str, Any]]:
    if shape == "polygon":
        return polygon_values(mask, style)
    if shape == "vector":
        return vector_values(mask, style)
    one = {
        "bitmask": bitmask_value,
        "rectangle": rectangle_value,
        "rotated_rectangle": rotated_rectangle_value,
        "ellipse": ellipse_value,
    }.get(shape, brush_value)
    return [one(mask)]


def _region_results(
    value: dict[str, Any],
    size: tuple[int, int],
    target: RegionTarget,
    region_id: str,
    score: float,
    item_index: int | None,
) -> list[ResultJson]:
    """Return the one or two results of one region of an image of `size` (height, width).

    A tag such as `<BrushLabels>` has labels of its own. With a plain tag beside a `<Labels>` palette, a region is two
    results with one id; without the second, it has no label and no color. `image_rotation` is 0, however the image is
    rotated in the editor: regions refer to the unrotated image.
    """
    height, width = size
    tags, labels = target.tags, target.labels
    region: ResultJson = {
        "id": region_id,
        "to_name": target.to_name,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": score_for_label_studio(score),
        "origin": "prediction",
    }
    if item_index is not None:
        region["item_index"] = item_index
    kind = tags.mask.kind
    if kind.endswith("labels"):
        only_label = tags.mask.labels if len(tags.mask.labels) == 1 else ()
        labeled = {**value, kind: list(labels or only_label)}
        return [{**region, "type": kind, "from_name": tags.mask.name, "value": labeled}]
    results = [{**region, "type": kind, "from_name": tags.mask.name, "value": value}]
    if tags.labels is not None and labels:
        labeled = {**value, "labels": list(labels)}
        results.append({**region, "type": tags.labels.kind, "from_name": tags.labels.name, "value": labeled})
    return results
