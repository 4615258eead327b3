"""The first bytes of a picture: what it is, and how large, before any pixel of it is decoded."""

import io
import struct
import warnings
import zlib

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

# What Pillow raises on broken files, found by flipping bytes of pictures (tests/model/images/test_decode.py).
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


def open_picture(data: bytes, max_pixels: int) -> ImageFile.ImageFile:
    """The picture in `data`, its header read, its pixels not.

    Pillow's own `Image.open` has one limit of pixels for the whole process and warns where it should refuse, so the
    reader is chosen here.

    Raises:
        BrokenImageError: no picture, or a broken header.
        ImageTooLargeError: more than `max_pixels`.
    """
    reader = _reader_for(data[:32])
    if reader is None:
        raise BrokenImageError(
            f"the image is no JPEG, PNG, WebP, TIFF, BMP, GIF or AVIF: its {len(data)} bytes begin with {data[:8]!r}"
        )
    if reader is WebPImagePlugin.WebPImageFile:
        check_size(*_webp_size(data[:32]), max_pixels)  # Pillow allocates the canvas when it opens a WebP
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")  # about tags that we do not read
            image = reader(io.BytesIO(data))
    except PILLOW_ERRORS as error:
        raise BrokenImageError(f"the image has a broken header: {error}") from error
    check_size(*image.size, max_pixels)
    return image


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise ImageTooLargeError for more than `max_pixels`."""
    if width * height > max_pixels:
        raise ImageTooLargeError(
            f"the image has {width} x {height} = {width * height} pixels, more than the limit of {max_pixels}"
        )


def is_tiff(data: bytes) -> bool:
    """Whether `data` begins as a TIFF or BigTIFF does."""
    return data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"))


def _reader_for(head: bytes) -> type[ImageFile.ImageFile] | None:
    if head.startswith(b"\xff\xd8\xff"):
        return JpegImagePlugin.JpegImageFile
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImagePlugin.PngImageFile
    if head.startswith((b"GIF87a", b"GIF89a")):
        return GifImagePlugin.GifImageFile
    if head.startswith(b"BM"):
        return BmpImagePlugin.BmpImageFile
    if is_tiff(head):
        return TiffImagePlugin.TiffImageFile
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WebPImagePlugin.WebPImageFile
    if head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis", b"mif1"):
        return AvifImagePlugin.AvifImageFile
    return None


def _webp_size(head: bytes) -> tuple[int, int]:
    """Width and height of a WebP's canvas.

    Source: RFC 9649, sections 2.5 (lossy), 2.6 (lossless), 2.7 (extended).
    """
    kind = head[12:16]
    try:
        if kind == b"VP8X":
            width, high_width, height, high_height = struct.unpack_from("<HBHB", head, 24)
            return 1 + width + (high_width << 16), 1 + height + (high_height << 16)
        if kind == b"VP8L":
            (bits,) = struct.unpack_from("<I", head, 21)
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        if kind == b"VP8 ":
            width, height = struct.unpack_from("<HH", head, 26)
            return width & 0x3FFF, height & 0x3FFF
    except struct.error:
        pass
    raise BrokenImageError("the image has a broken header: a WebP without a picture")
