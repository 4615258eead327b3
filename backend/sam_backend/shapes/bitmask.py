"""A mask -> the value of a bitmask region: a PNG in a data URL, opaque where the object is.

Source: Label Studio's `<BitmaskLabels>`. A palette of two colors, white and transparent, takes one bit per pixel.
"""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from sam_model.types import Mask

BLACK_AND_WHITE = [0, 0, 0, 255, 255, 255]


def bitmask_value(mask: Mask) -> dict[str, Any]:
    """Return the PNG of a mask (H, W), exact to the pixel."""
    image = PillowImage.fromarray(mask.view(np.uint8), mode=None)
    image.putpalette(BLACK_AND_WHITE)
    file = io.BytesIO()
    image.save(file, "PNG", bits=1, transparency=bytes([0, 255]))  # black is transparent
    return {"imageDataURL": "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()}
