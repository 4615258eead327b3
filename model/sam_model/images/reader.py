"""Pictures as scripts have them - a file, a Pillow image, an array - to RGB uint8 (H, W, 3)."""

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL.Image
import PIL.ImageOps
from numpy.typing import NDArray

from sam_model.types import Image

ImageFormat = Literal["BGR", "RGB"]
ImageSource = str | os.PathLike[str] | PIL.Image.Image | NDArray[Any]
EIGHT_BIT_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"}


def read_image(source: ImageSource, image_format: ImageFormat = "BGR") -> Image:
    """The picture as RGB uint8 (H, W, 3), turned upright where its EXIF data say so.

    Args:
        source: path of a picture file, Pillow image, or array.
        image_format: order of an **array's** colours; files and Pillow images know their own. BGR, as `cv2.imread`
            gives it and the SAM documentation expects it, unless told otherwise.

    Raises:
        ValueError: no picture can be read, it has more than 8 bits a colour, or an array is no uint8 (H, W, 3).
    """
    if image_format not in ("BGR", "RGB"):
        raise ValueError(f"image_format={image_format!r} is unknown; it can be 'BGR' or 'RGB'")
    if isinstance(source, np.ndarray):
        return _from_array(source, image_format)
    if isinstance(source, PIL.Image.Image):
        return _from_pillow(source, "the image")
    if not isinstance(source, str | os.PathLike):
        raise ValueError(f"source is a {type(source).__name__}; needed: a path, a Pillow image or an array")
    path = Path(source)
    if path.is_dir():
        raise ValueError(f"{str(path)!r} is a folder; give its pictures one by one")
    try:
        with PIL.Image.open(path) as picture:
            return _from_pillow(picture, repr(str(path)))
    except FileNotFoundError as error:
        raise ValueError(f"{str(path)!r} does not exist") from error
    except (OSError, SyntaxError) as error:  # Pillow raises the latter on some broken PNGs
        raise ValueError(f"{str(path)!r} cannot be read as a picture: {error}") from error


def _from_array(array: NDArray[Any], image_format: ImageFormat) -> Image:
    if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        hint = "; a grey picture needs three equal colours" if array.ndim == 2 else ""
        raise ValueError(f"the image has shape {array.shape}; needed: (H, W, 3){hint}")
    if array.dtype != np.uint8:
        low, high = array.min(), array.max()
        raise ValueError(f"the image is {array.dtype} with values {low}..{high}; needed: uint8, 0..255")
    return np.ascontiguousarray(array[..., ::-1] if image_format == "BGR" else array)


def _from_pillow(picture: PIL.Image.Image, name: str) -> Image:
    if picture.mode not in EIGHT_BIT_MODES:
        raise ValueError(f"{name} has Pillow's mode {picture.mode!r}; needed: 8 bits a colour")
    upright = PIL.ImageOps.exif_transpose(picture)
    return np.array(upright.convert("RGB"), dtype=np.uint8)
