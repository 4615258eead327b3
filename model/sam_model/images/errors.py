"""Errors of image decoding.

ImageDecodeError (a ValueError)
├── BrokenImageError     the bytes are no image of a supported format, or a damaged one
├── ImageTooLargeError   decoding needs more pixels, memory or work than the limits allow
└── DecoderBusyError     other images used the whole decoding memory for too long
"""


class ImageDecodeError(ValueError):
    """An image file that cannot be decoded."""


class BrokenImageError(ImageDecodeError):
    """The bytes are no image of a supported format, or a damaged one."""


class ImageTooLargeError(ImageDecodeError):
    """Decoding needs more pixels, memory or work than the limits allow."""


class DecoderBusyError(ImageDecodeError):
    """Other images used the whole decoding memory for too long."""
