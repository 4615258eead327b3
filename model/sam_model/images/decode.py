"""The bytes of an image file -> RGB pixels: those that the annotator sees in Label Studio.

JPEG, PNG, WebP, BMP, GIF and AVIF come out as Chromium 156 draws them (tests/end_to_end compares): turned upright,
in sRGB, of 16 bits the upper 8, of animations the first frame. Transparent pixels are laid over white, the page
behind Label Studio's image. No browser but Safari shows TIFF; deep ones (16, 32, 64 bits, floats) hold measured
values, which are stretched from the smallest to the largest.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL.ImageFile import ImageFile

from sam_model.images.budget import DECODING_MEMORY
from sam_model.images.colors import Pixels, Values, colour_and_alpha, over_white, stretched, strips, three_channels
from sam_model.images.errors import BrokenImageError, ImageTooLargeError
from sam_model.images.headers import PILLOW_ERRORS, ImageHeader, open_image, pillow_warnings_ignored, read_header
from sam_model.images.orientation import SIDEWAYS, orientation_of, upright
from sam_model.images.profiles import conversion_to_srgb
from sam_model.images.tiff import deep_values

MAX_PIXELS = 100_000_000
READ_AS = {
    "L": cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION,
    "RGB": cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION,
    "RGBA": cv2.IMREAD_UNCHANGED,  # BGRA, not turned
}
REDUCED = {8: 64, 4: 32, 2: 16}  # what makes OpenCV decode a JPEG to 1/n of its size: the bits of IMREAD_REDUCED_*
Size = tuple[int, int]  # (height, width)
ReadRows = Callable[[slice], tuple[Pixels, Pixels | None]]  # colours (h, W) or (h, W, 3), opacity (h, W)


@dataclass(frozen=True, eq=False)
class ReducedImage:
    """An image that may be decoded to a part of its size."""

    pixels: NDArray[np.uint8]  # RGB (h, w, 3), upright
    image_size: Size  # of the whole image

    @property
    def is_whole(self) -> bool:
        """Return whether `pixels` are those of the whole image."""
        return self.pixels.shape[:2] == self.image_size


def decode_reduced(data: bytes, least_size: Callable[[Size], Size], max_pixels: int = MAX_PIXELS) -> ReducedImage:
    """Decode an image file as `decode_image` does, but a JPEG to 1/2, 1/4 or 1/8 of its size where that is enough.

    Args:
        data: the file.
        least_size: returns the smallest size that is enough for an image of a given size.
        max_pixels: of the whole image.

    Raises:
        Exception: as in `decode_image`.
    """
    return _decode_file(data, max_pixels, least_size)


def decode_image(data: bytes, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode the image file `data` to RGB uint8 (H, W, 3), upright, in sRGB.

    Waits while other threads use the memory for decoding (`budget.DECODING_MEMORY`).

    Raises:
        BrokenImageError: no image of a supported format, or one that is damaged or cut off.
        ImageTooLargeError: more than `max_pixels`, or more memory or work than the limits allow; raised before any
            pixel is decoded.
        DecoderBusyError: other images used the whole memory for decoding for too long.
    """
    return _decode_file(data, max_pixels).pixels


def _decode_file(data: bytes, max_pixels: int, least_size: Callable[[Size], Size] | None = None) -> ReducedImage:
    header = read_header(data, max_pixels)
    what = f"the {header.format} image of {header.width} x {header.height} pixels"
    with DECODING_MEMORY.reserve(header.memory, what):
        try:
            if header.format == "WEBP" and not header.is_animated:
                return _whole(_decode_webp(header, data))
            if header.bits > 8:
                values = deep_values(data)
                if values is not None:
                    return _whole(_stretched_array(values))
            image = open_image(header, data)
            reduced = None if least_size is None else _reduced_jpeg(image, data, least_size)
            return reduced or _whole(_decode(header, image, data))
        except BrokenImageError:
            raise
        except PILLOW_ERRORS as error:
            raise BrokenImageError(f"the image is a broken {header.format}: {error}") from error
        except MemoryError as error:
            raise ImageTooLargeError(f"decoding {what} failed: out of memory") from error


def _whole(pixels: Pixels) -> ReducedImage:
    return ReducedImage(pixels, (pixels.shape[0], pixels.shape[1]))


def _reduced_jpeg(image: ImageFile, data: bytes, least_size: Callable[[Size], Size]) -> ReducedImage | None:
    """Return None if the whole image is needed, or for everything else than an intact grey or RGB JPEG."""
    if image.format != "JPEG" or image.mode not in ("L", "RGB"):
        return None
    orientation = orientation_of(image)
    size = (image.width, image.height) if orientation in SIDEWAYS else (image.height, image.width)
    least = least_size(size)
    for share, flag in REDUCED.items():
        if all(side // share >= needed for side, needed in zip(size, least, strict=True)):
            height, width = -(-image.height // share), -(-image.width // share)
            pixels = _opencv_pixels(data, READ_AS[image.mode] | flag, height, width)
            if pixels is None:
                return None
            decoded = _from_array(pixels, conversion_to_srgb(image.mode, image.info))
            return ReducedImage(upright(decoded, orientation), size)
    return None


def _decode(header: ImageHeader, image: ImageFile, data: bytes) -> Pixels:
    orientation = orientation_of(image)
    # OpenCV 4.12 allocates the length that a PNG chunk states, up to 4 GiB, before it reads the chunk
    pixels = None if header.is_animated or header.is_truncated else _with_opencv(image, data)
    if pixels is not None:
        return upright(_from_array(pixels, conversion_to_srgb(image.mode, image.info)), orientation)
    frame = image.tile[0].extents if image.format == "GIF" else None
    with pillow_warnings_ignored():
        image.load()
    decoded = pillow_pixels(image, frame)
    image.close()
    return upright(decoded, orientation)


def pillow_pixels(image: PIL.Image.Image, frame: tuple[int, int, int, int] | None = None) -> Pixels:
    """Turn a Pillow image into RGB uint8 (H, W, 3), in sRGB, over white; measured values are stretched.

    Args:
        image: as Pillow has loaded it; its orientation is not looked at.
        frame: (x_min, y_min, x_max, y_max) of a GIF's first frame; transparent outside.
    """
    if image.mode in ("I", "F") or (image.mode.startswith("I;16") and image.format == "TIFF"):
        return stretched(_pillow_values(image), image.height, image.width)
    convert = conversion_to_srgb(image.mode, image.info)
    return _assembled(_pillow_rows(image, frame), image.height, image.width, convert)


def _with_opencv(image: ImageFile, data: bytes) -> Pixels | None:
    """Decode an 8-bit JPEG or PNG to (H, W), RGB or BGRA, in half of Pillow's time.

    None for everything else, and for what is broken: Pillow says what is wrong with it.
    """
    is_plain_png = image.format == "PNG" and image.tile[0].args == image.mode and "transparency" not in image.info
    if image.mode not in READ_AS or not (is_plain_png or image.format == "JPEG"):
        return None
    return _opencv_pixels(data, READ_AS[image.mode], image.height, image.width)


def _opencv_pixels(data: bytes, flags: int, height: int, width: int) -> Pixels | None:
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    if pixels is None or pixels.shape[:2] != (height, width) or pixels.dtype != np.uint8:
        return None
    return np.asarray(pixels, dtype=np.uint8)


def _decode_webp(header: ImageHeader, data: bytes) -> Pixels:
    """Decode a WebP of one frame: Pillow would keep three canvases and a copy of them."""
    pixels = _opencv_pixels(data, cv2.IMREAD_UNCHANGED, header.height, header.width)
    if pixels is None:
        raise BrokenImageError("the image is a broken WEBP: it cannot be decoded")
    if pixels.shape[2] == 3:
        cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)
    info = {}
    if data[12:16] == b"VP8X" and data[30:34] == b"ICCP":
        info["icc_profile"] = data[38 : 38 + int.from_bytes(data[34:38], "little")]
    return _from_array(pixels, conversion_to_srgb("RGB", info))


def _from_array(pixels: Pixels, convert: Callable[[Pixels], Pixels] | None) -> Pixels:
    """Turn (H, W), RGB or BGRA into RGB; RGB is changed in place."""
    height, width = pixels.shape[:2]
    if pixels.ndim == 3 and pixels.shape[2] == 4:

        def read(rows: slice) -> tuple[Pixels, Pixels | None]:
            colour = cv2.cvtColor(pixels[rows], cv2.COLOR_BGRA2RGB)
            return np.asarray(colour, dtype=np.uint8), np.ascontiguousarray(pixels[rows][..., 3])

        return _assembled(read, height, width, convert)
    if convert is None:
        return three_channels(pixels)
    return _assembled(
        lambda rows: (pixels[rows], None), height, width, convert, out=pixels if pixels.ndim == 3 else None
    )


def _assembled(
    read: ReadRows,
    height: int,
    width: int,
    convert: Callable[[Pixels], Pixels] | None,
    out: Pixels | None = None,
) -> Pixels:
    """Put strips of rows together: convert their colours, lay them over white."""
    if out is None:
        out = np.empty((height, width, 3), np.uint8)
    for rows in strips(height, width):
        colour, alpha = read(rows)
        colour = three_channels(colour if convert is None else convert(colour))
        out[rows] = colour if alpha is None else over_white(colour, alpha)
    return out


def _pillow_rows(image: PIL.Image.Image, frame: tuple[int, int, int, int] | None) -> ReadRows:
    is_part = frame is not None and frame != (0, 0, image.width, image.height)

    def read(rows: slice) -> tuple[Pixels, Pixels | None]:
        colour, alpha = colour_and_alpha(image, rows)
        if frame is not None and is_part:
            x_min, y_min, x_max, y_max = frame
            inside = np.zeros(colour.shape[:2], np.uint8)
            part = (slice(max(0, y_min - rows.start), max(0, y_max - rows.start)), slice(x_min, x_max))
            inside[part] = 255 if alpha is None else alpha[part]
            alpha = inside
        return colour, alpha

    return read


def _pillow_values(image: PIL.Image.Image) -> Callable[[slice], Values]:
    return lambda rows: np.asarray(image.crop((0, rows.start, image.width, rows.stop)))


def _stretched_array(values: Values) -> Pixels:
    """Stretch values (H, W), BGR or BGRA; opacity is dropped."""

    def read(rows: slice) -> Values:
        return values[rows] if values.ndim == 2 else np.ascontiguousarray(values[rows][..., 2::-1])

    return stretched(read, values.shape[0], values.shape[1])
