"""Image decoding by `sam_model.images`, with the errors of this package, which have an HTTP status."""

import numpy as np
from numpy.typing import NDArray

from sam_backend.errors import BrokenImageError, DecoderBusyError, ImageTooLargeError
from sam_model.images import decode, errors


def decode_image(data: bytes, max_pixels: int = 100_000_000) -> NDArray[np.uint8]:
    """Decode the file `data` to RGB uint8 (H, W, 3), upright, in sRGB.

    Raises:
        BrokenImageError: the format is not supported, or the file is damaged.
        ImageTooLargeError: the image exceeds `max_pixels`, or the limits of memory or work for decoding.
        DecoderBusyError: other images used all memory for decoding for too long.
    """
    try:
        return decode.decode_image(data, max_pixels)
    except errors.ImageTooLargeError as error:
        raise ImageTooLargeError(str(error)) from error
    except errors.DecoderBusyError as error:
        raise DecoderBusyError(str(error)) from error
    except errors.ImageDecodeError as error:
        raise BrokenImageError(str(error)) from error
