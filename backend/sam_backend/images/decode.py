"""Image decoding for the backend: `sam_model.images`, with errors that have an HTTP status."""

import numpy as np
from numpy.typing import NDArray

from sam_backend.errors import BrokenImageError, DecoderBusyError, ImageTooLargeError
from sam_model.images import decode, errors


def decode_image(data: bytes, max_pixels: int = 100_000_000) -> NDArray[np.uint8]:
    """Decode the file `data` to RGB uint8 (H, W, 3), upright, in sRGB.

    Raises:
        BrokenImageError: the bytes are no image of a supported format, or a damaged one.
        ImageTooLargeError: more than `max_pixels`, or more memory or work than the limits of decoding allow.
        DecoderBusyError: other images used the whole memory for decoding for too long.
    """
    try:
        return decode.decode_image(data, max_pixels)
    except errors.ImageTooLargeError as error:
        raise ImageTooLargeError(str(error)) from error
    except errors.DecoderBusyError as error:
        raise DecoderBusyError(str(error)) from error
    except errors.ImageDecodeError as error:
        raise BrokenImageError(str(error)) from error
