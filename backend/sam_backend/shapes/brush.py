"""A mask -> the brush region that Label Studio draws.

Source: label-studio 1.23.2, web/libs/editor/src/regions/BrushRegion.jsx. With a `<Labels>` palette a region is two
results with one id; with `type brush` alone the mask would have no label and no colour.
"""

from typing import Any

from sam_backend.protocol.labeling_config import MaskTags
from sam_backend.protocol.predictions import ResultJson, score_for_label_studio
from sam_backend.shapes.brush_rle import encode_mask_bytes
from sam_model.types import Mask


def brush_results(
    mask: Mask,
    tags: MaskTags,
    to_name: str,
    labels: tuple[str, ...],
    region_id: str,
    score: float,
    item_index: int | None = None,
) -> list[ResultJson]:
    """The one or two results of one mask (H, W), whose size must be the one the browser shows.

    `image_rotation` is 0 whatever the view's: masks are drawn in the unrotated frame.
    """
    height, width = mask.shape
    value: dict[str, Any] = {"format": "rle", "rle": encode_mask_bytes(mask)}
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
    if kind == "brushlabels":
        only_label = tags.mask.labels if len(tags.mask.labels) == 1 else ()
        named = {**value, "brushlabels": list(labels or only_label)}
        return [{**region, "type": kind, "from_name": tags.mask.name, "value": named}]
    results = [{**region, "type": kind, "from_name": tags.mask.name, "value": value}]
    if tags.labels is not None and labels:
        named = {**value, "labels": list(labels)}
        results.append({**region, "type": tags.labels.kind, "from_name": tags.labels.name, "value": named})
    return results
