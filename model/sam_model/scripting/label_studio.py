"""Predictions in Label Studio's import format."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_model.masks.coco_rle import RunLengths
from sam_model.masks.polygons import Outline, polygons_from_mask
from sam_model.types import Mask

EncodeMask = Callable[[Mask], Sequence[int]]


@dataclass(frozen=True)
class Tags:
    """Names of a labeling config: the control tag of the regions, and the `Image` tag."""

    from_name: str
    to_name: str


def prediction(
    run_lengths: Sequence[RunLengths],
    scores: NDArray[np.float32],
    labels: Sequence[str],
    model: str,
    tags: Tags,
    encode_mask: EncodeMask | None,
    tolerance: float,
) -> dict[str, Any]:
    """Return a prediction with the regions of all masks; see `Results.to_label_studio`.

    Raises:
        ValueError: the number of labels is not that of the masks.
    """
    if len(labels) != len(run_lengths):
        raise ValueError(f"{len(labels)} labels for {len(run_lengths)} masks; needed: one for all, or one per mask")
    regions = []
    for index, lengths in enumerate(run_lengths):
        height, width = lengths.size
        for part, (kind, value) in enumerate(_values(lengths.mask, encode_mask, tolerance)):
            regions.append(
                {
                    "id": f"mask-{index}-{part}",
                    "type": kind,
                    "from_name": tags.from_name,
                    "to_name": tags.to_name,
                    "original_width": width,
                    "original_height": height,
                    "image_rotation": 0,
                    "score": float(scores[index]),
                    "value": {**value, kind: [labels[index]]},
                }
            )
    score = float(scores.mean()) if len(scores) else 0.0
    return {"model_version": model, "score": score, "result": regions}


def _values(mask: Mask, encode_mask: EncodeMask | None, tolerance: float) -> list[tuple[str, dict[str, Any]]]:
    """Return type and value of each region of a mask."""
    if encode_mask is not None:
        return [("brushlabels", {"format": "rle", "rle": list(encode_mask(mask))})]
    outlines = [polygon.outer for polygon in polygons_from_mask(mask, tolerance)]
    size = (mask.shape[0], mask.shape[1])
    return [("polygonlabels", _polygon(outline, size)) for outline in outlines if len(outline) > 2]


def _polygon(outline: Outline, image_size: tuple[int, int]) -> dict[str, Any]:
    height, width = image_size
    return {"points": (outline * (100 / np.array([width, height]))).tolist(), "closed": True}
