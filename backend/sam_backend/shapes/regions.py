"""A mask -> the results of its regions, in whichever shape a control tag takes.

Source: label-studio 1.23.2, what its editor draws and what its import accepts (label_studio_sdk 2.1.2,
label_interface/interface.py).
"""

from typing import Any

from sam_backend.protocol.labeling_config import MaskTags
from sam_backend.protocol.predictions import ResultJson, score_for_label_studio
from sam_backend.shapes.bitmask import bitmask_value
from sam_backend.shapes.brush import brush_value
from sam_backend.shapes.polygon import polygon_values
from sam_backend.shapes.rectangle import rectangle_value
from sam_model.types import Mask


def region_values(mask: Mask, shape: str) -> list[dict[str, Any]]:
    """The values of a mask's regions (H, W); several where it is in parts and the shape is `polygon`."""
    if shape == "polygon":
        return polygon_values(mask)
    if shape == "rectangle":
        return [rectangle_value(mask)]
    if shape == "bitmask":
        return [bitmask_value(mask)]
    return [brush_value(mask)]


def region_results(
    value: dict[str, Any],
    size: tuple[int, int],
    tags: MaskTags,
    to_name: str,
    labels: tuple[str, ...],
    region_id: str,
    score: float,
    item_index: int | None = None,
) -> list[ResultJson]:
    """The one or two results of one region of an image of `size` (height, width).

    A tag such as `<BrushLabels>` has labels of its own. With a `<Labels>` palette beside a plain tag a region is two
    results with one id, and the plain one alone would have no label and no colour. `image_rotation` is 0 whatever
    the view's: regions are drawn in the unrotated frame.
    """
    height, width = size
    region: ResultJson = {
        "id": region_id,
        "to_name": to_name,
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
        named = {**value, kind: list(labels or only_label)}
        return [{**region, "type": kind, "from_name": tags.mask.name, "value": named}]
    results = [{**region, "type": kind, "from_name": tags.mask.name, "value": value}]
    if tags.labels is not None and labels:
        named = {**value, "labels": list(labels)}
        results.append({**region, "type": tags.labels.kind, "from_name": tags.labels.name, "value": named})
    return results
