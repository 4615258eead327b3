"""A mask -> the value of a bitmask region: a PNG in a data URL, opaque where the object is.

Source: Label Studio's `<BitmaskLabels>`. Two colours in a palette, white and clear, take one bit a pixel.
"""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from sam_model.types import Mask

CLEAR_AND_WHITE = [0, 0, 0, 255, 255, 255]


def bitmask_value(mask: Mask) -> dict[str, Any]:
    """The PNG of a mask (H, W), exact to the pixel."""
    picture = PillowImage.fromarray(mask.view(np.uint8), mode=None)
    picture.putpalette(CLEAR_AND_WHITE)
    file = io.BytesIO()
    picture.save(file, "PNG", bits=1, transparency=bytes([0, 255]))
    return {"imageDataURL": "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()}
