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

from sam_model.images.colors import Pixels, clear_outside, colour_and_alpha, over_white, stretched, three_channels
from sam_model.images.deep_tiff import values_of_deep_tiff
from sam_model.images.errors import BrokenImageError
from sam_model.images.headers import PILLOW_ERRORS, open_picture
from sam_model.images.orientation import orientation_of, upright
from sam_model.images.profiles import in_srgb

READ_AS = {
    "L": cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION,
    "RGB": cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION,
    "RGBA": cv2.IMREAD_UNCHANGED,  # BGRA, not turned
}


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
        colour, alpha = _with_opencv(image, data) or _with_pillow(image)
    except PILLOW_ERRORS as error:
        raise BrokenImageError(f"the image is a broken {image.format}: {error}") from error
    pixels = three_channels(in_srgb(colour, image.mode, image.info))
    if alpha is not None:
        pixels = over_white(pixels, alpha)
    return upright(pixels, orientation)


def _with_opencv(image: ImageFile, data: bytes) -> tuple[Pixels, Pixels | None] | None:
    """Colours (H, W) or (H, W, 3) and opacity (H, W) of an 8-bit JPEG or PNG, in half of Pillow's time.

    None for everything else, and for what is broken: Pillow says what is wrong with it.
    """
    is_plain_png = image.format == "PNG" and image.tile[0].args == image.mode and "transparency" not in image.info
    if image.mode not in READ_AS or not (is_plain_png or image.format == "JPEG"):
        return None
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), READ_AS[image.mode])
    except cv2.error:
        return None
    if pixels is None or pixels.shape[:2] != (image.height, image.width) or pixels.dtype != np.uint8:
        return None
    alpha = None
    if image.mode == "RGBA":
        alpha = np.asarray(cv2.extractChannel(pixels, 3), dtype=np.uint8)
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB)
    return np.asarray(pixels, dtype=np.uint8), alpha


def _with_pillow(image: ImageFile) -> tuple[Pixels, Pixels | None]:
    frame = image.tile[0].extents if image.format == "GIF" else None
    image.load()
    colour, alpha = colour_and_alpha(image)
    if frame is not None:
        alpha = clear_outside(frame, colour, alpha)
    return colour, alpha
