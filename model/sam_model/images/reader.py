"""Images as scripts have them (a file, a Pillow image, an array) -> RGB uint8 (H, W, 3)."""

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL.Image
import PIL.ImageOps
from numpy.typing import NDArray

from sam_model.images.colors import over_white, three_channels
from sam_model.images.decode import decode_image, pillow_pixels
from sam_model.images.errors import ImageDecodeError
from sam_model.types import Image

ImageFormat = Literal["BGR", "RGB"]
ImageSource = str | os.PathLike[str] | PIL.Image.Image | NDArray[Any]
MAX_FILE_PIXELS = 200_000_000  # twice the server's limit: a path is given by the person who runs the program


def read_image(source: ImageSource, image_format: ImageFormat = "BGR") -> Image:
    """Return an image as RGB uint8 (H, W, 3); files are upright and in sRGB, transparency is laid over white.

    A file gives the same pixels as in the server: both use `decode_image`.

    Args:
        source: path of an image file, Pillow image, or array.
        image_format: order of an **array's** colours, with opacity last; files and Pillow images know their own. BGR,
            as `cv2.imread` gives it and the SAM documentation expects it, unless told otherwise.

    Raises:
        ValueError: no image can be read, or an array is not uint8 or uint16 (H, W), (H, W, 3) or (H, W, 4).
    """
    if image_format not in ("BGR", "RGB"):
        raise ValueError(f"image_format={image_format!r} is unknown; it can be 'BGR' or 'RGB'")
    if isinstance(source, np.ndarray):
        return _from_array(source, image_format)
    if isinstance(source, PIL.Image.Image):
        upright = PIL.ImageOps.exif_transpose(source)
        upright.format = source.format  # a transposed image has none, and values of a TIFF mean something else
        return pillow_pixels(upright)
    if not isinstance(source, str | os.PathLike):
        raise ValueError(f"source is a {type(source).__name__}; needed: a path, a Pillow image or an array")
    path = Path(source)
    if path.is_dir():
        raise ValueError(f"{str(path)!r} is a folder; give its images one by one")
    try:
        return decode_image(path.read_bytes(), MAX_FILE_PIXELS)
    except FileNotFoundError as error:
        raise ValueError(f"{str(path)!r} does not exist") from error
    except (OSError, ImageDecodeError) as error:
        raise ValueError(f"could not read {str(path)!r}: {error}") from error


def _from_array(array: NDArray[Any], image_format: ImageFormat) -> Image:
    grey = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if 0 in array.shape or not (grey.ndim == 2 or (grey.ndim == 3 and grey.shape[2] in (3, 4))):
        raise ValueError(f"the image has shape {array.shape}; needed: (H, W), (H, W, 3) or (H, W, 4)")
    if array.dtype == np.uint16:
        grey = (grey >> 8).astype(np.uint8)  # the upper 8 bits, as of files
    elif array.dtype != np.uint8:
        low, high = array.min(), array.max()
        raise ValueError(f"the image is {array.dtype} with values {low}..{high}; needed: uint8, 0..255, or uint16")
    if grey.ndim == 2:
        return three_channels(np.ascontiguousarray(grey))
    colour = np.ascontiguousarray(grey[..., 2::-1] if image_format == "BGR" else grey[..., :3])
    return colour if grey.shape[2] == 3 else over_white(colour, np.ascontiguousarray(grey[..., 3]))
