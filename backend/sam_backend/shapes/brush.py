"""A mask -> the value of a brush region. Source: label-studio 1.23.2, what its editor draws."""

from typing import Any

from sam_backend.shapes.brush_rle import encode_mask_bytes
from sam_model.types import Mask


def brush_value(mask: Mask) -> dict[str, Any]:
    """Return the RLE of a mask (H, W), which has the size of the image that the browser shows."""
    return {"format": "rle", "rle": encode_mask_bytes(mask)}
