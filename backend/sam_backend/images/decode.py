"""Image decoding by `sam_model.images`, with the errors of this package, which have an HTTP status."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_backend.errors import BrokenImageError, DecoderBusyError, ImageTooLargeError
from sam_model.images import decode, errors
from sam_model.images.decode import ReducedImage
from sam_model.interfaces import ReducingSegmenter, Segmenter


def decode_image(data: bytes, max_pixels: int = 100_000_000) -> NDArray[np.uint8]:
    """Decode the file `data` to RGB uint8 (H, W, 3), upright, in sRGB.

    Raises:
        BrokenImageError: the format is not supported, or the file is damaged.
        ImageTooLargeError: the image exceeds `max_pixels`, or the limits of memory or work for decoding.
        DecoderBusyError: other images used all memory for decoding for too long.
    """
    with _own_errors():
        return decode.decode_image(data, max_pixels)


def decode_for_embedding(data: bytes, segmenter: Segmenter[Any], max_pixels: int) -> ReducedImage:
    """Decode the file `data` as far as a segmenter's embedding needs it.

    Raises:
        BackendError: as in `decode_image`.
    """
    with _own_errors():
        if isinstance(segmenter, ReducingSegmenter):
            return decode.decode_reduced(data, segmenter.least_size, max_pixels)
        pixels = decode.decode_image(data, max_pixels)
        return ReducedImage(pixels, (pixels.shape[0], pixels.shape[1]))


@contextmanager
def _own_errors() -> Iterator[None]:
    try:
        yield
    except errors.ImageTooLargeError as error:
        raise ImageTooLargeError(str(error)) from error
    except errors.DecoderBusyError as error:
        raise DecoderBusyError(str(error)) from error
    except errors.ImageDecodeError as error:
        raise BrokenImageError(str(error)) from error
