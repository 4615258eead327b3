"""An image as the bytes of a JPEG file."""

import cv2

from sam_model.types import Image


def jpeg_from_image(image: Image, quality: int) -> bytes:
    """Return an image, RGB uint8 (H, W, 3), as a JPEG file.

    Args:
        image: with at most 65,500 pixels a side.
        quality: 0 to 100.
    """
    encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return bytes(encoded.tobytes())
