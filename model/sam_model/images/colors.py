"""Stored values -> 8 bits per channel, and transparency -> white, in strips of rows.

A strip fits into a processor's cache; whole images of temporary values would take gigabytes.
"""

from collections.abc import Callable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Values = NDArray[np.integer | np.floating]
STRIP_PIXELS = 1 << 17


def strips(height: int, width: int) -> Iterator[slice]:
    """Divide an image into slices of rows, of about `STRIP_PIXELS` pixels each."""
    rows = max(1, STRIP_PIXELS // max(1, width))
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))


def colour_and_alpha(image: Image.Image, rows: slice) -> tuple[Pixels, Pixels | None]:
    """Return the colours (h, W) or (h, W, 3) of some rows of a loaded image, and their opacity (h, W) if they have one.

    Of 16 bits the upper 8 are kept, as Chromium 156 does. CMYK becomes RGB without regard to its profile.
    """
    strip = image.crop((0, rows.start, image.width, rows.stop))
    if strip.mode.startswith("I;16"):
        return (np.asarray(strip) >> 8).astype(np.uint8), None
    if strip.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in strip.info:
        rgba = np.asarray(strip.convert("RGBA"))
        return np.ascontiguousarray(rgba[..., :3]), np.ascontiguousarray(rgba[..., 3])
    return np.array(strip.convert("L" if strip.mode in ("1", "L") else "RGB")), None


def over_white(colour: Pixels, alpha: Pixels) -> Pixels:
    """Lay colours (H, W, 3) of this opacity (H, W) over white, the background of Label Studio's image."""
    weight = cv2.merge([alpha] * 3)
    return np.asarray(cv2.add(cv2.multiply(colour, weight, scale=1 / 255), 255 - weight), dtype=np.uint8)


def stretched(read: Callable[[slice], Values], height: int, width: int) -> Pixels:
    """Map measured values linearly to RGB (H, W, 3): the smallest becomes 0, the largest 255.

    NaN becomes 0, and so does everything in an image of one value. No browser shows such files.

    Args:
        read: returns the values (h, W) or (h, W, 3) of a slice of rows; called twice for each.
        height: of the image.
        width: of the image.
    """
    out = np.zeros((height, width, 3), np.uint8)
    low, high = _range(read, height, width)
    if low >= high:
        return out
    low, high = low / 2, high / 2  # halves, so that their difference stays finite

    def scaled(values: Values) -> Pixels:
        numbers = values.astype(np.float64) / 2
        if values.dtype.kind == "f":
            numbers = np.nan_to_num(numbers, copy=False, nan=low, posinf=high, neginf=low)
        levels: Pixels = np.rint((numbers - low) / (high - low) * 255).astype(np.uint8)
        return levels

    table: Pixels | None = None
    for rows in strips(height, width):
        values = read(rows)
        if values.dtype.kind in "iu" and values.dtype.itemsize <= 2:
            if table is None:
                bits = np.arange(1 << 8 * values.dtype.itemsize, dtype=f"u{values.dtype.itemsize}")
                table = scaled(np.clip(bits.view(values.dtype), int(2 * low), int(2 * high)))
            levels = table[values.view(f"u{values.dtype.itemsize}")]
        else:
            levels = scaled(values)
        out[rows] = three_channels(levels)
    return out


def _range(read: Callable[[slice], Values], height: int, width: int) -> tuple[float, float]:
    """Return the smallest and the largest finite value; (0, 0) where there is none."""
    low, high = np.inf, -np.inf
    for rows in strips(height, width):
        values = read(rows)
        if values.dtype.kind == "f":
            values = values[np.isfinite(values)]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    return (low, high) if low <= high else (0.0, 0.0)


def three_channels(pixels: Pixels) -> Pixels:
    """Turn (H, W) or (H, W, 3) into (H, W, 3)."""
    if pixels.ndim == 2:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), dtype=np.uint8)
    return np.ascontiguousarray(pixels)
