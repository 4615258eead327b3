"""Letterboxing: an image scaled to fit the network's input, with grey borders, and the way back.

The borders make both sides multiples of 32, the cell size of the coarsest map, and are no wider than that requires: an
image that is half as high as wide costs half the time.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_model.masks.boxes import Boxes
from sam_model.types import Image
from sam_model.yolo.sizes import STRIDES

GREY = (114, 114, 114)


@dataclass(frozen=True)
class Letterbox:
    """The position of an image in the network's input, in whole pixels."""

    image_size: tuple[int, int]  # (height, width) of the image
    inner_size: tuple[int, int]  # of the image after scaling
    size: tuple[int, int]  # of the input
    top: int  # rows above it
    left: int  # columns before it

    def apply(self, image: Image) -> Image:
        """Return the image (H, W, 3) scaled and with its borders, (`size`, 3)."""
        (inner_height, inner_width), (height, width) = self.inner_size, self.size
        if self.inner_size != self.image_size:
            image = cv2.resize(image, (inner_width, inner_height), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
        bottom, right = height - self.top - inner_height, width - self.left - inner_width
        framed = cv2.copyMakeBorder(image, self.top, bottom, self.left, right, cv2.BORDER_CONSTANT, value=GREY)
        return framed.astype(np.uint8, copy=False)

    def boxes_in_image(self, boxes: Boxes) -> Boxes:
        """Convert boxes (N, 4) of the input to pixels of the image, clipped to its borders.

        Width and height were scaled to whole pixels, so each has a scale of its own.
        """
        (height, width), (inner_height, inner_width) = self.image_size, self.inner_size
        corner = np.array([self.left, self.top] * 2, dtype=np.float32)
        scale = np.array([inner_width / width, inner_height / height] * 2, dtype=np.float32)
        inside: NDArray[np.float32] = np.clip((boxes - corner) / scale, 0, np.array([width, height] * 2))
        return inside.astype(np.float32, copy=False)


def letterbox(image_size: tuple[int, int], long_side: int) -> Letterbox:
    """Return the letterbox of an image of `image_size` (height, width) whose longer side becomes `long_side` pixels.

    Raises:
        ValueError: `long_side` is not a positive multiple of 32.
    """
    coarsest = STRIDES[-1]
    if long_side <= 0 or long_side % coarsest:
        raise ValueError(f"image_size={long_side}; needed: a positive multiple of {coarsest}")
    scale = min(long_side / side for side in image_size)
    height, width = (max(1, round(side * scale)) for side in image_size)
    spare = (-height % coarsest, -width % coarsest)
    # an odd row is added below, an odd column on the right
    return Letterbox(image_size, (height, width), (height + spare[0], width + spare[1]), spare[0] // 2, spare[1] // 2)


def letterbox_of_size(image_size: tuple[int, int], size: tuple[int, int], *, is_centred: bool = True) -> Letterbox:
    """Return the letterbox of an image in an input of a fixed `size`.

    Args:
        image_size: (height, width) of the image.
        size: (height, width) of the input.
        is_centred: put borders on all sides; otherwise below and on the right only.
    """
    scale = min(side / full for side, full in zip(size, image_size, strict=True))
    height, width = (min(side, max(1, round(full * scale))) for side, full in zip(size, image_size, strict=True))
    top, left = ((size[0] - height) // 2, (size[1] - width) // 2) if is_centred else (0, 0)
    return Letterbox(image_size, (height, width), size, top, left)
