"""Orientation of an image, from its EXIF data, as Chromium 156 reads it.

Source: Exif 2.32, section 4.6.4 A (tag 0x0112). Chromium turns JPEG and AVIF, and PNG when its eXIf chunk stands
before the pixels; it does not turn WebP, and does not read an orientation from XMP. Labels are placed on what the
browser shows.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.ImageFile import ImageFile

from sam_model.images.headers import PILLOW_ERRORS, pillow_warnings_ignored

UPRIGHT = 1
SIDEWAYS = range(5, 9)  # height and width change places
MAX_EXIF_BYTES = 1 << 16  # as much as a JPEG segment holds; Pillow copies every value, and values may overlap

# Pillow turns TIFFs; it hands over AVIF's rotation, which is kept in boxes, as EXIF data.
_FORMATS_WITH_EXIF = ("JPEG", "PNG", "AVIF")


def orientation_of(image: ImageFile) -> int:
    """Return 1 (upright) to 8 for an image whose pixels are not yet loaded: a PNG's late eXIf chunk does not count."""
    exif = image.info.get("exif")
    if image.format not in _FORMATS_WITH_EXIF or not isinstance(exif, bytes):
        return UPRIGHT
    return orientation_from_exif(exif)


def orientation_from_exif(exif: bytes) -> int:
    """Return 1 (upright) to 8; 1 as well when the data is broken or has no orientation."""
    tags = Image.Exif()
    try:
        with pillow_warnings_ignored():
            tags.load(exif[:MAX_EXIF_BYTES])
            value = tags.get(ExifTags.Base.Orientation)
    except PILLOW_ERRORS:
        return UPRIGHT
    return value if isinstance(value, int) and 1 <= value <= 8 else UPRIGHT


def upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn and mirror `pixels` (H, W, 3), or (W, H, 3) for orientations 5 to 8, into the upright image."""
    match orientation:
        case 2:
            turned = cv2.flip(pixels, 1)
        case 3:
            turned = cv2.rotate(pixels, cv2.ROTATE_180)
        case 4:
            turned = cv2.flip(pixels, 0)
        case 5:
            turned = cv2.transpose(pixels)
        case 6:
            turned = cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE)
        case 7:
            turned = cv2.rotate(cv2.transpose(pixels), cv2.ROTATE_180)
        case 8:
            turned = cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE)
        case _:
            return pixels
    return np.asarray(turned, dtype=np.uint8)
