"""A mask at the size of the original image -> logits that the prompt encoder takes as a mask input."""

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_model.types import Mask

CERTAIN = 10.0  # logit of the pixels inside; the probability is .99995


def logits_from_mask(mask: Mask, input_size: tuple[int, int], encoder_side: int, low_res: int) -> NDArray[np.float32]:
    """Return logits (low_res, low_res): `CERTAIN` inside the mask (H, W), `-CERTAIN` outside, in between at its border.

    Args:
        mask: (H, W), of the original image.
        input_size: (height, width) of the resized image; the encoder's input is padded to a square.
        encoder_side: side of that square in pixels.
        low_res: side of the result.
    """
    height, width = (max(1, round(side * low_res / encoder_side)) for side in input_size)
    share = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    logits = np.full((low_res, low_res), -CERTAIN, np.float32)
    logits[:height, :width] = CERTAIN * (2 * share - 1)
    return logits
