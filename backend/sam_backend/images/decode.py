"""The bytes of a picture -> RGB pixels: those that the annotator sees in Label Studio.

JPEG, PNG, WebP, BMP, GIF and AVIF come out as Chromium 156 draws them (tests/end_to_end compares): turned upright,
in sRGB, of 16 bits the upper 8, of animations the first frame. Transparent pixels are laid over white, the page
behind Label Studio's image. TIFF is shown by no browser but Safari; deep ones (16, 32, 64 bits, floats) hold
measured values, which are stretched from the smallest to the largest.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL.ImageFile import ImageFile

from sam_backend.errors import BrokenImageError
from sam_backend.images.colors import Pixels, clear_outside, colour_and_alpha, over_white, stretched, three_channels
from sam_backend.images.deep_tiff import values_of_deep_tiff
from sam_backend.images.headers import PILLOW_ERRORS, open_picture
from sam_backend.images.orientation import orientation_of, upright
from sam_backend.images.profiles import in_srgb

END_OF_JPEG = b"\xff\xd9"


def decode_image(data: bytes, max_pixels: int = 100_000_000) -> NDArray[np.uint8]:
    """The picture in `data`: RGB uint8 (H, W, 3), upright.

    Raises:
        BrokenImageError: no picture that we can read, or one that is cut off.
        ImageTooLargeError: more than `max_pixels`, checked before any is decoded.
    """
    measured = values_of_deep_tiff(data, max_pixels)
    if measured is not None:
        return three_channels(stretched(measured))
    image = open_picture(data, max_pixels)
    orientation = orientation_of(image)
    try:
        alpha = None
        colour = _plain(image, data)
        if colour is None:
            frame = image.tile[0].extents if image.format == "GIF" else None
            image.load()
            if image.mode in ("I", "F"):
                return three_channels(stretched(np.asarray(image)))
            colour, alpha = colour_and_alpha(image)
            if frame is not None:
                alpha = clear_outside(frame, colour, alpha)
    except PILLOW_ERRORS as error:
        raise BrokenImageError(f"the image is a broken {image.format}: {error}") from error
    pixels = three_channels(in_srgb(colour, image.mode, image.info))
    if alpha is not None:
        pixels = over_white(pixels, alpha)
    return upright(pixels, orientation)


def _plain(image: ImageFile, data: bytes) -> Pixels | None:
    """Colours (H, W) or (H, W, 3) of an 8-bit JPEG or PNG, with OpenCV, which needs half of Pillow's time."""
    if image.format == "JPEG":
        # Some versions of OpenCV fill up what is cut off; a scan holds no end marker but its own.
        is_plain = image.fp is not None and data.find(END_OF_JPEG, image.fp.tell()) >= 0
    else:
        is_plain = image.format == "PNG" and image.tile[0].args == image.mode and "transparency" not in image.info
    if not is_plain or image.mode not in ("L", "RGB"):
        return None
    flags = cv2.IMREAD_GRAYSCALE if image.mode == "L" else cv2.IMREAD_COLOR
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    if pixels is None or pixels.shape[:2] != (image.height, image.width):
        return None
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)
    return np.asarray(pixels, dtype=np.uint8)
