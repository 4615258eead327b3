"""Which way up a picture is: the orientation of its EXIF data, as Chromium 156 reads it.

Source: Exif 2.32, section 4.6.4 A (tag 0x0112); TIFF 6.0, section 2. JPEG and AVIF turn, and so does PNG when its
eXIf chunk stands before the pixels; Chromium does not turn WebP. Labels are placed on what the browser shows.
"""

import struct

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL.ImageFile import ImageFile

ORIENTATION_TAG = 0x0112
SHORT = 3
UPRIGHT = 1

# Turned by Pillow: TIFF, from the same tag; AVIF keeps its rotation in boxes, which Pillow hands over as EXIF.
_FORMATS_WITH_EXIF = ("JPEG", "PNG", "AVIF")


def orientation_of(image: ImageFile) -> int:
    """1 (upright) to 8, of a picture whose pixels are not yet loaded: a PNG's late eXIf chunk does not count."""
    exif = image.info.get("exif")
    if image.format not in _FORMATS_WITH_EXIF or not isinstance(exif, bytes):
        return UPRIGHT
    return orientation_from_exif(exif)


def orientation_from_exif(exif: bytes) -> int:
    """1 (upright) to 8; 1 as well when the data is broken or does not say."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return UPRIGHT
    try:
        (offset,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, offset)
        for index in range(entries):
            tag, kind, count, value = struct.unpack_from(f"{order}HHIH", tiff, offset + 2 + 12 * index)
            if tag == ORIENTATION_TAG:
                return value if kind == SHORT and count == 1 and 1 <= value <= 8 else UPRIGHT
    except struct.error:
        pass
    return UPRIGHT


def upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn and mirror `pixels` (H, W, 3), or (W, H, 3) for orientations 5 to 8, into the picture to be seen."""
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
