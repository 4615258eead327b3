"""TIFFs of more than 8 bits: measured values, from microscopes and satellites.

Pillow opens only some of them, and none with several channels of floats; OpenCV, through libtiff, opens the most.
Source: TIFF 6.0, section 8 (baseline fields).
"""

import io
import warnings

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from sam_model.images.headers import PILLOW_ERRORS, check_size, is_tiff

WIDTH, HEIGHT, BITS_PER_SAMPLE = 256, 257, 258


def values_of_deep_tiff(data: bytes, max_pixels: int) -> NDArray[np.integer | np.floating] | None:
    """Values (H, W) or (H, W, C) of the first page, upright, RGB where there are three or four channels.

    None for everything that is better left to Pillow: other formats, 8 bits, and what OpenCV cannot read.

    Raises:
        ImageTooLargeError: more than `max_pixels`.
    """
    if not is_tiff(data):
        return None
    try:
        tags = _first_directory(data)
        width, height, bits = int(tags[WIDTH]), int(tags[HEIGHT]), max(tags.get(BITS_PER_SAMPLE, (1,)))
    except PILLOW_ERRORS:
        return None
    if bits <= 8:
        return None
    check_size(width, height, max_pixels)
    try:
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if values is not None and values.ndim == 3:
        values = values[..., 2::-1]  # from BGR; a fourth channel is dropped
    return values


def _first_directory(data: bytes) -> ImageFileDirectory_v2:
    file = io.BytesIO(data)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        directory = ImageFileDirectory_v2(data[:16] if data[2:3] == b"+" else data[:8])
        file.seek(directory.next)
        directory.load(file)
    return directory
