"""Format, size and cost of an image file, read from its structure before a pixel is decoded.

Pillow and OpenCV trust a file's structure: a few hundred kilobytes can cost them minutes or gigabytes. What is checked
here, and why, is in docs/decisions/image-decoding.md.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from sam_model.images.errors import BrokenImageError, ImageTooLargeError
from sam_model.images.jpeg import jpeg_structure
from sam_model.images.tiff import is_tiff, tiff_header

# What Pillow raises on broken files, found by changing bytes of images (tests/model/images/test_decode.py).
PILLOW_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    TypeError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    struct.error,
    zlib.error,
)

MAX_SIDE = 65_535  # pixels; what JPEG and GIF can say. Per row, some readers allocate 255 rows at once
MAX_PNG_CHUNKS = 100_000  # IDAT chunks have 8 KiB or more; Pillow takes some microseconds for each
MAX_GIF_BLOCKS = 4096  # before the first frame, 255 bytes each: Pillow appends each to those before
MAX_RLE_BMP_BYTES = 8 << 20  # Pillow decodes these in Python


class _Jpeg(JpegImagePlugin.JpegImageFile):
    def _read_dpi_from_exif(self) -> None:
        """Leave the EXIF data alone: its values, which may be many times its size, are not needed."""


_READERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": _Jpeg,
    "PNG": PngImagePlugin.PngImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
}


@dataclass(frozen=True)
class ImageHeader:
    """What is known of an image file before it is decoded."""

    format: str  # a key of `_READERS`
    width: int
    height: int
    memory: int  # bytes that decoding takes at its peak, at most, without the file itself
    bits: int = 8  # of the deepest channel, known for TIFF
    is_animated: bool = False  # known for WebP and PNG
    is_truncated: bool = False  # known for PNG: a chunk is longer than the rest of the file


def read_header(data: bytes, max_pixels: int) -> ImageHeader:
    """Read what decides how, and at which cost, `data` is decoded.

    Raises:
        BrokenImageError: no supported format, or a broken header.
        ImageTooLargeError: more than `max_pixels`, or more work than the limits allow.
    """
    match format_of(data[:32]):
        case "JPEG":
            jpeg = jpeg_structure(data)
            check_size(jpeg.width, jpeg.height, max_pixels)
            jpeg.check_work()
            memory = jpeg.coefficient_bytes + 7 * jpeg.width * jpeg.height
            return ImageHeader("JPEG", jpeg.width, jpeg.height, memory)
        case "TIFF":
            tiff = tiff_header(data)
            check_size(tiff.width, tiff.height, max_pixels)
            return ImageHeader("TIFF", tiff.width, tiff.height, tiff.memory, tiff.bits)
        case "PNG":
            header = _png_header(data)
        case "GIF":
            header = _gif_header(data)
        case "BMP":
            header = _bmp_header(data)
        case "WEBP":
            header = _webp_header(data[:32])
        case "AVIF":
            width, height = _open("AVIF", data).size  # libavif checks the structure and decodes nothing yet
            header = ImageHeader("AVIF", width, height, 24 * width * height)
        case _:
            raise BrokenImageError(
                "the image is not a JPEG, PNG, WebP, TIFF, BMP, GIF or AVIF file:"
                f" its {len(data)} bytes begin with {data[:8]!r}"
            )
    check_size(header.width, header.height, max_pixels)
    return header


def open_image(header: ImageHeader, data: bytes) -> ImageFile.ImageFile:
    """Open the file with Pillow's reader for its format; no pixel is decoded, but for an animated WebP.

    Pillow's own `Image.open` has one limit of pixels for the whole process and warns where it should refuse.

    Raises:
        BrokenImageError: a broken header, or one that Pillow reads differently.
    """
    image = _open(header.format, data)
    if sorted(image.size) != sorted((header.width, header.height)):  # Pillow may have turned a TIFF
        raise BrokenImageError(
            f"the image is a broken {header.format}: its size is {header.width} x {header.height}"
            f" or {image.width} x {image.height}"
        )
    return image


@contextmanager
def pillow_warnings_ignored() -> Iterator[None]:
    """Ignore Pillow's warnings, which are about tags that are not needed."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise BrokenImageError for no pixels, ImageTooLargeError for more than `max_pixels` or a side too long."""
    if width <= 0 or height <= 0:
        raise BrokenImageError(f"the image has no pixels: its size is {width} x {height}")
    if width * height > max_pixels:
        raise ImageTooLargeError(
            f"the image has {width} x {height} = {width * height} pixels, more than the limit of {max_pixels}"
        )
    if max(width, height) > MAX_SIDE:
        raise ImageTooLargeError(f"the image has {width} x {height} pixels, more than {MAX_SIDE} on one side")


def format_of(head: bytes) -> str | None:
    """Return the format of a file that begins with `head`; None for one that is not supported."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith(b"BM"):
        return "BMP"
    if is_tiff(head):
        return "TIFF"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis", b"mif1"):
        return "AVIF"
    return None


def _open(name: str, data: bytes) -> ImageFile.ImageFile:
    try:
        with pillow_warnings_ignored():
            return _READERS[name](io.BytesIO(data))
    except PILLOW_ERRORS as error:
        raise BrokenImageError(f"the image has a broken header: {error}") from error


def _png_header(data: bytes) -> ImageHeader:
    """Read the list of chunks. Source: PNG, third edition, sections 5.3 and 11.2.1."""
    if data[12:16] != b"IHDR" or len(data) < 33:
        raise BrokenImageError("the image has a broken header: a PNG that does not begin with IHDR")
    width, height = struct.unpack_from(">II", data, 16)
    at, chunks, is_animated = 8, 0, False
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IEND" and at + 12 + length <= len(data):
            break
        if kind == b"IHDR" and chunks:
            raise BrokenImageError("the image has a broken header: a PNG with two IHDR chunks")
        is_animated = is_animated or kind == b"acTL"
        chunks += 1
        if chunks > MAX_PNG_CHUNKS:
            raise ImageTooLargeError(f"the image is a PNG of more than {MAX_PNG_CHUNKS} chunks")
        at += 12 + length
    is_truncated = at > len(data)
    return ImageHeader("PNG", width, height, 8 * width * height, is_animated=is_animated, is_truncated=is_truncated)


def _gif_header(data: bytes) -> ImageHeader:
    """Read everything before the first frame's pixels. Source: GIF89a, sections 18 to 26."""
    try:
        width, height, flags = struct.unpack_from("<HHB", data, 6)
        at, blocks = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0), 0
        while data[at] != 0x2C:  # image descriptor
            if data[at] != 0x21:  # extension; Pillow skips everything else byte by byte
                at += 1
                blocks += 1
            else:
                at += 2
                while data[at]:
                    at += 1 + data[at]
                    blocks += 1
                at += 1
            if blocks > MAX_GIF_BLOCKS:
                raise ImageTooLargeError(f"the image is a GIF of more than {MAX_GIF_BLOCKS} blocks before its pixels")
        left, top, frame_width, frame_height = struct.unpack_from("<HHHH", data, at + 1)
    except (IndexError, struct.error) as error:
        raise BrokenImageError("the image has a broken header: a GIF without a frame") from error
    width, height = max(width, left + frame_width), max(height, top + frame_height)
    return ImageHeader("GIF", width, height, 8 * width * height)


def _bmp_header(data: bytes) -> ImageHeader:
    """Read the information header. Source: BITMAPCOREHEADER, BITMAPINFOHEADER of the Windows API."""
    compression = 0
    try:
        (size,) = struct.unpack_from("<I", data, 14)
        if size == 12:
            width, height = struct.unpack_from("<HH", data, 18)
        else:
            width, height, _, _, compression = struct.unpack_from("<IiHHI", data, 18)
    except struct.error as error:
        raise BrokenImageError("the image has a broken header: a BMP that is cut off") from error
    if compression in (1, 2) and len(data) > MAX_RLE_BMP_BYTES:
        raise ImageTooLargeError(f"the image is a run-length coded BMP of more than {MAX_RLE_BMP_BYTES} bytes")
    return ImageHeader("BMP", width, abs(height), 8 * width * abs(height))


def _webp_header(head: bytes) -> ImageHeader:
    """Read the first chunk. Source: RFC 9649, sections 2.5 (lossy), 2.6 (lossless), 2.7 (extended)."""
    kind = head[12:16]
    is_animated = False
    try:
        if kind == b"VP8X":
            is_animated = bool(head[20] & 2)
            width, high_width, height, high_height = struct.unpack_from("<HBHB", head, 24)
            width, height = 1 + width + (high_width << 16), 1 + height + (high_height << 16)
        elif kind == b"VP8L":
            (bits,) = struct.unpack_from("<I", head, 21)
            width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        elif kind == b"VP8 ":
            width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", head, 26))
        else:
            raise BrokenImageError("the image has a broken header: a WebP without an image")
    except (IndexError, struct.error) as error:
        raise BrokenImageError("the image has a broken header: a WebP that is cut off") from error
    # static: ARGB of the lossless decoder, BGRA, RGB. Pillow, for animations: three canvases, a copy, its own image
    return ImageHeader("WEBP", width, height, (24 if is_animated else 11) * width * height, is_animated=is_animated)
