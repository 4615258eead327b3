"""Whatever a file's numbers are -> 8 bits of sRGB, as Chromium 156 shows them."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

SPACE_OF_MODE = {"L": "GRAY", "RGB": "RGB", "RGBA": "RGB"}


def on_white(image: Image.Image) -> Image.Image:
    """An RGBA picture as RGB over white, Label Studio's page: pixels nobody sees hold any colour."""
    page = Image.new("RGBA", image.size, "white")
    page.alpha_composite(image)
    return page.convert("RGB")


def as_8_bit_modes(image: Image.Image) -> Image.Image:
    """A loaded picture in one of the modes L, RGB and RGBA.

    Of 16 bits the upper 8 are kept, as Chromium does.
    """
    if "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBa"):
        return image.convert("RGBA")
    if image.mode.startswith("I;16"):
        deep = np.asarray(image)
        return Image.fromarray((deep >> 8).astype(np.uint8))
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "RGB", "RGBA") else image.convert("RGB")


def managed(image: Image.Image, profile: bytes) -> Image.Image | None:
    """A picture (L, RGB, RGBA) with an ICC profile, in sRGB; None when the profile is sRGB, or of no use."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        if image.mode == "L" and space == "RGB":
            image = image.convert("RGB")
        if SPACE_OF_MODE.get(image.mode) != space:
            return None
        mode = image.mode if image.mode == "RGBA" else "RGB"
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            image.mode,
            mode,
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        )
        samples = _samples(image.mode)
        change = np.asarray(transform.apply(samples), np.int16) - np.asarray(samples.convert(mode), np.int16)
        if np.abs(change).max() <= 1:  # sRGB under one of its many names
            return None
        return transform.apply(image)
    except (OSError, ImageCms.PyCMSError):
        return None


def stretched(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Measured values, of which no browser says how they look: the smallest becomes 0, the largest 255.

    Not a number becomes 0, and so does everything in a picture of one value.
    """
    numbers = values.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    if finite.size == 0 or finite.min() == finite.max():
        return np.zeros(values.shape, np.uint8)
    low, high = finite.min() / 256, finite.max() / 256  # divided, so that their difference stays finite
    share = (np.nan_to_num(numbers, nan=finite.min(), posinf=finite.max(), neginf=finite.min()) / 256 - low) / (
        high - low
    )
    pixels: NDArray[np.uint8] = np.rint(share * 255).astype(np.uint8)
    return pixels


def _samples(mode: str) -> Image.Image:
    """Colours from the whole cube, one pixel each."""
    steps = np.linspace(0, 255, 9).astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(27, 27, 3)
    return Image.fromarray(cube).convert(mode)
