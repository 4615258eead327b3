"""The bytes of a picture -> RGB pixels: those that the annotator sees in Label Studio.

JPEG, PNG, WebP, BMP, GIF and AVIF come out as Chromium 156 draws them (tests/end_to_end compares): turned upright,
ICC profiles applied, of 16 bits the upper 8, of animations the first frame. Transparent pixels are laid over white,
the page behind Label Studio's image. TIFF is shown by no browser but Safari; deep ones (16, 32, 64 bits, floats) hold
measured values, which are stretched from the smallest to the largest.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile

from sam_backend.errors import BrokenImageError
from sam_backend.images.colors import as_8_bit_modes, managed, on_white, stretched
from sam_backend.images.headers import PILLOW_ERRORS, open_picture
from sam_backend.images.orientation import orientation_of, upright

END_OF_JPEG = b"\xff\xd9"


def decode_image(data: bytes, max_pixels: int = 100_000_000) -> NDArray[np.uint8]:
    """The picture in `data`: RGB uint8 (H, W, 3), upright.

    Raises:
        BrokenImageError: no picture that we can read, or one that is cut off.
        ImageTooLargeError: more than `max_pixels`, checked before any is decoded.
    """
    image = open_picture(data, max_pixels)
    orientation = orientation_of(image)
    pixels = _plain_pixels(image, data)
    if pixels is None:
        pixels = _deep_tiff(image, data)
    if pixels is None:
        pixels = _any_pixels(image)
    return upright(pixels, orientation)


def _plain_pixels(image: ImageFile, data: bytes) -> NDArray[np.uint8] | None:
    """The common case, with OpenCV, which needs half of Pillow's time: 8 bits, no transparency."""
    if image.format == "JPEG":
        # A scan holds no end marker but its own; OpenCV would fill up a picture that is cut off.
        is_plain = image.mode in ("L", "RGB") and data.find(END_OF_JPEG, _position(image)) >= 0
    else:
        is_plain = image.format == "PNG" and _is_plain_png(image)
    if not is_plain:
        return None
    bgr = _opencv(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if bgr is None or bgr.shape[:2] != (image.height, image.width):
        return None  # Pillow will say what is wrong
    pixels = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr), dtype=np.uint8)
    profile = image.info.get("icc_profile")
    if profile:
        picture = Image.fromarray(pixels[..., 0] if image.mode == "L" else pixels)
        pixels = np.array((managed(picture, profile) or picture).convert("RGB"))
    return pixels


def _position(image: ImageFile) -> int:
    return image.fp.tell() if image.fp is not None else 0


def _is_plain_png(image: ImageFile) -> bool:
    rawmode = image.tile[0].args
    return image.mode in ("L", "RGB") and rawmode in ("L", "RGB") and "transparency" not in image.info


def _deep_tiff(image: ImageFile, data: bytes) -> NDArray[np.uint8] | None:
    """A TIFF of more than 8 bits, with OpenCV: Pillow knows none with several channels."""
    if image.format != "TIFF" or max(_bits_per_sample(image)) <= 8:
        return None
    values = _opencv(data, cv2.IMREAD_UNCHANGED)  # turns it upright
    if values is None:
        return None
    if values.ndim == 3 and values.shape[2] in (3, 4):
        values = values[..., 2::-1]  # from BGR; a fourth channel is dropped
    return _three_channels(stretched(values))


def _bits_per_sample(image: ImageFile) -> tuple[int, ...]:
    return tuple(getattr(image, "tag_v2", {}).get(258, (1,)))


def _any_pixels(image: ImageFile) -> NDArray[np.uint8]:
    """Everything else, with Pillow."""
    try:
        image.load()
        if image.mode in ("I", "F"):
            return _three_channels(stretched(np.asarray(image)))
        picture = as_8_bit_modes(image)
        profile = image.info.get("icc_profile")
        if profile:
            picture = managed(picture, profile) or picture
        if picture.mode == "RGBA":
            picture = on_white(picture)
        return np.array(picture.convert("RGB"))
    except PILLOW_ERRORS as error:
        raise BrokenImageError(f"the image is a broken {image.format}: {error}") from error


def _opencv(data: bytes, flags: int) -> NDArray[np.integer[Any] | np.floating[Any]] | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None


def _three_channels(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(pixels[..., np.newaxis], 3, axis=2) if pixels.ndim == 2 else np.ascontiguousarray(pixels)
