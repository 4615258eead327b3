"""Whatever a file's numbers are -> 8 bits per channel, and transparency -> white."""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


def colour_and_alpha(image: Image.Image) -> tuple[Pixels, Pixels | None]:
    """The colours (H, W) or (H, W, 3) of a loaded picture, and its opacity (H, W) where it has one.

    Of 16 bits the upper 8 are kept, as Chromium 156 does; more of them are stretched. CMYK becomes RGB without
    regard to its profile.
    """
    if image.mode in ("I", "F"):
        return stretched(np.asarray(image)), None
    if image.mode.startswith("I;16"):
        return (np.asarray(image) >> 8).astype(np.uint8), None
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        rgba = np.asarray(image.convert("RGBA"))
        return rgba[..., :3], rgba[..., 3]
    return np.array(image.convert("L" if image.mode in ("1", "L") else "RGB")), None


def clear_outside(frame: tuple[int, int, int, int], colour: Pixels, alpha: Pixels | None) -> Pixels | None:
    """The opacity of a GIF whose first frame, (x_min, y_min, x_max, y_max), is smaller than its screen."""
    height, width = colour.shape[:2]
    if frame == (0, 0, width, height):
        return alpha
    x_min, y_min, x_max, y_max = frame
    inside = np.zeros((height, width), np.uint8)
    inside[y_min:y_max, x_min:x_max] = 255 if alpha is None else alpha[y_min:y_max, x_min:x_max]
    return inside


def over_white(colour: Pixels, alpha: Pixels) -> Pixels:
    """Colours (H, W, 3) of this opacity over white, Label Studio's page: what nobody sees can be any colour."""
    weight = cv2.merge([alpha] * 3)
    return np.asarray(cv2.add(cv2.multiply(colour, weight, scale=1 / 255), 255 - weight), dtype=np.uint8)


def stretched(values: NDArray[np.integer | np.floating]) -> Pixels:
    """Measured values, of which no browser says how they look: the smallest becomes 0, the largest 255.

    Not a number becomes 0, and so does everything in a picture of one value.
    """
    finite = values[np.isfinite(values)]
    if finite.size == 0 or finite.min() == finite.max():
        return np.zeros(values.shape, np.uint8)
    low, high = float(finite.min()) / 2, float(finite.max()) / 2  # halves, so that their difference stays finite
    numbers = np.nan_to_num(values.astype(np.float64) / 2, nan=low, posinf=high, neginf=low)
    pixels: Pixels = np.rint((numbers - low) / (high - low) * 255).astype(np.uint8)
    return pixels


def three_channels(pixels: Pixels) -> Pixels:
    """(H, W) or (H, W, 3) to (H, W, 3)."""
    return np.repeat(pixels[..., np.newaxis], 3, axis=2) if pixels.ndim == 2 else np.ascontiguousarray(pixels)
