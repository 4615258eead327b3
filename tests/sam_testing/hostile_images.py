"""Image files that need far more time or memory to decode than their size suggests."""

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from sam_testing.image_files import (
    ADOBE_RGB,
    D65,
    SRGB,
    chromaticity_chunk,
    gamma_chunk,
    jpeg_with_exif,
    matrix_profile,
    png_chunk,
    saved,
)

SIDE = 10_000  # 100 megapixels


def zeros(length: int) -> bytes:
    """Return a zlib stream of zeros."""
    packer = zlib.compressobj(1)
    block = bytes(1 << 20)
    parts = [packer.compress(block) for _ in range(length >> 20)]
    return b"".join([*parts, packer.compress(bytes(length & (1 << 20) - 1)), packer.flush()])


def black_png(depth: int, colour_type: int, before: bytes = b"", side: int = SIDE) -> bytes:
    """Return a black PNG; `colour_type` is 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour_type]
    header = struct.pack(">IIBBBBB", side, side, depth, colour_type, 0, 0, 0)
    pixels = zeros(side * (1 + -(-side * channels * depth // 8)))
    chunks = png_chunk(b"IHDR", header) + before + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def flat(mode: str, fmt: str, side: int = SIDE, **options: Any) -> bytes:
    """Return a file of one colour, written by Pillow."""
    return saved(Image.new(mode, (side, side)), fmt, **options)


def jpeg_of_scans(scans: int, side: int, subsampling: int = 0) -> bytes:
    """Return a progressive JPEG whose cheapest scan, 53 bytes, is repeated until there are `scans` of them."""
    data = flat("RGB", "JPEG", side, progressive=True, subsampling=subsampling)
    starts = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    last = data[starts[-2] : starts[-1]]
    return data[: starts[-1]] + last * (scans - len(starts)) + data[starts[-1] :]


def deep_tiff(dtype: type, channels: int, rows: int, side: int = SIDE) -> bytes:
    """Return a TIFF of deep zeros, deflated in strips of `rows` rows that share their bytes."""
    bits = np.dtype(dtype).itemsize * 8
    sample_format = {"u": 1, "i": 2, "f": 3}[np.dtype(dtype).kind]
    strip = zeros(rows * side * channels * bits // 8)
    return tiff_of_strips(side, side, bits, channels, rows, strip, sample_format)


def tiff_of_strips(
    width: int, height: int, bits: int, channels: int, rows: int, strip: bytes, sample_format: int = 1
) -> bytes:
    """Return a deflated TIFF all of whose strips are the same bytes; `rows` divides `height`."""
    count = height // rows
    photometric = 2 if channels == 3 else 1
    entries = [
        (256, 4, [width]),
        (257, 4, [height]),
        (258, 3, [bits] * channels),
        (259, 3, [8]),
        (262, 3, [photometric]),
        (273, 4, [0] * count),
        (277, 3, [channels]),
        (278, 4, [rows]),
        (279, 4, [len(strip)] * count),
        (339, 3, [sample_format] * channels),
    ]
    at = 8 + 2 + 12 * len(entries) + 4
    blocks = b""
    for index, (tag, _, _values) in enumerate(entries):
        if tag == 273:
            after = sum(len(_packed(kind, values)) for _, kind, values in entries if len(_packed(kind, values)) > 4)
            entries[index] = (273, 4, [at + after] * count)
    directory = struct.pack("<H", len(entries))
    for tag, kind, values in entries:
        data = _packed(kind, values)
        if len(data) > 4:
            directory += struct.pack("<HHII", tag, kind, len(values), at + len(blocks))
            blocks += data
        else:
            directory += struct.pack("<HHI", tag, kind, len(values)) + data.ljust(4, b"\0")
    return b"II*\0" + struct.pack("<I", 8) + directory + b"\0\0\0\0" + blocks + strip


def _packed(kind: int, values: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(values)}{'H' if kind == 3 else 'I'}", *values)


def exif_of_overlapping_values(entries: int, length: int) -> bytes:
    """Return EXIF data whose entries all have the same `length` bytes as their value."""
    at = 8 + 2 + 12 * entries + 4
    directory = b"".join(struct.pack("<HHII", 40_000 + index, 7, length, at) for index in range(entries))
    return b"II*\0" + struct.pack("<IH", 8, entries) + directory + bytes(4 + length)


def cube_profile() -> bytes:
    """Return an ICC profile of a monitor with a large table: 255 x 255 x 255 would be 50 MB, this one says so."""
    profile = bytearray(matrix_profile(SRGB, 2.2))
    curves = b"".join(struct.pack(">H", value) for value in (0, 65535))
    table = b"mft2\0\0\0\0" + bytes([3, 3, 255, 0])
    identity = b"".join(struct.pack(">i", round(number * 65536)) for number in np.eye(3).ravel())
    table += identity + struct.pack(">HH", 2, 2) + curves * 3 + bytes(1000)
    (count,) = struct.unpack_from(">I", profile, 128)
    grown = bytearray(profile[:132])
    struct.pack_into(">I", grown, 128, count + 1)
    tags = bytearray(profile[132 : 132 + 12 * count])
    for index in range(count):
        (offset,) = struct.unpack_from(">I", tags, 12 * index + 4)
        struct.pack_into(">I", tags, 12 * index + 4, offset + 12)
    grown += tags + b"A2B0" + struct.pack(">II", len(profile) + 12, len(table)) + profile[132 + 12 * count :] + table
    struct.pack_into(">I", grown, 0, len(grown))
    return bytes(grown)


def _tiles(compression: str, side: int = SIDE) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(
        file, np.zeros((side, side, 3), np.uint8), photometric="rgb", tile=(256, 256), compression=compression
    )
    return file.getvalue()


def _chunks(kind: bytes, data: bytes, count: int) -> bytes:
    return png_chunk(kind, data) * count


def _comments(blocks: int) -> bytes:
    gif = flat("P", "GIF", 64)
    at = 13 + (3 << (gif[10] & 7) + 1)
    return gif[:at] + b"\x21\xfe" + (b"\xff" + bytes(255)) * blocks + b"\0" + gif[at:]


def _tiff_with_tags(entries: int, length: int) -> bytes:
    tiff = bytearray(exif_of_overlapping_values(entries, length))
    for index, (tag, value) in enumerate([(256, 64), (257, 64), (258, 8), (262, 1), (273, 8), (279, 4096)]):
        struct.pack_into("<HHII", tiff, 10 + 12 * index, tag, 4, 1, value)
    return bytes(tiff)


def _long_bmp() -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, 100_000_000, 1, 1, 8, 1, 0, 0, 0, 256, 0)
    body = header + bytes(1024) + b"\0\2\0\xff" * 100
    return b"BM" + struct.pack("<IHHI", 14 + len(body), 0, 0, 14 + 40 + 1024) + body


def _animated(fmt: str, side: int) -> bytes:
    frames = [Image.new("RGB", (side, side), (value, 0, 0)) for value in (0, 40)]
    cheap = {"lossless": True, "quality": 0, "method": 0}
    return saved(frames[0], fmt, save_all=True, append_images=frames[1:], **cheap)


ADOBE = matrix_profile(ADOBE_RGB, 2.2)
GAMMA = chromaticity_chunk(D65, ADOBE_RGB) + gamma_chunk(0.45455)

# 100 megapixels in small files, one for each way through the decoder.
LARGE: dict[str, Callable[[], bytes]] = {
    "jpeg progressive 4:4:4": lambda: flat("RGB", "JPEG", progressive=True, subsampling=0),
    "jpeg adobe rgb": lambda: flat("RGB", "JPEG", icc_profile=ADOBE),
    "jpeg cmyk": lambda: flat("CMYK", "JPEG"),
    "png 16 bit rgba": lambda: black_png(16, 6),
    "png palette": lambda: black_png(8, 3, png_chunk(b"PLTE", bytes(768)) + png_chunk(b"tRNS", b"\0")),
    "png gamma and primaries": lambda: black_png(8, 2, GAMMA),
    "png rgba adobe rgb": lambda: black_png(8, 6, png_chunk(b"iCCP", b"a\0\0" + zlib.compress(ADOBE))),
    "gif with a clear entry": lambda: flat("P", "GIF", transparency=0),
    "webp rgba": lambda: flat("RGBA", "WEBP", lossless=True, quality=0, method=0),
    "tiff 8 bit in one strip": lambda: deep_tiff(np.uint8, 3, SIDE),
    "tiff tiles": lambda: _tiles("zlib"),
    "tiff 16 bit rgb": lambda: deep_tiff(np.uint16, 3, 100),
    "tiff 16 bit rgb in one strip": lambda: deep_tiff(np.uint16, 3, SIDE),
    "tiff float rgb": lambda: deep_tiff(np.float32, 3, 100),
    "tiff double": lambda: deep_tiff(np.float64, 1, 100),
}

# Files whose cost is not in their pixels.
BOMBS: dict[str, Callable[[], bytes]] = {
    "jpeg of 500 scans": lambda: jpeg_of_scans(500, 4000),
    "jpeg of 100 scans": lambda: jpeg_of_scans(100, 4000),
    "jpeg of 16 scans 4:4:4": lambda: jpeg_of_scans(16, SIDE, 0),
    "jpeg of many segments": lambda: b"\xff\xd8" + b"\xff\xe5\0\2" * 1_000_000 + flat("RGB", "JPEG", 64)[2:],
    "jpeg of many exif segments": lambda: (
        b"\xff\xd8" + (b"\xff\xe1\xff\xffExif\0\0" + bytes(65527)) * 300 + flat("RGB", "JPEG", 64)[2:]
    ),
    "jpeg of overlapping exif values": lambda: jpeg_with_exif(
        flat("RGB", "JPEG", 64), exif_of_overlapping_values(2600, 32_000)
    ),
    "png of overlapping exif values": lambda: black_png(
        8, 2, png_chunk(b"eXIf", exif_of_overlapping_values(20_000, 300_000)), 64
    ),
    "png text bomb": lambda: black_png(8, 2, _chunks(b"zTXt", b"a\0\0" + zeros(1 << 28), 2), 64),
    "png international text bomb": lambda: black_png(8, 2, png_chunk(b"iTXt", b"a\0\1\0\0\0" + zeros(1 << 28)), 64),
    "png profile bomb": lambda: black_png(8, 2, png_chunk(b"iCCP", b"a\0\0" + zeros(1 << 28)), 64),
    "png of many texts": lambda: black_png(8, 2, _chunks(b"tEXt", b"a\0b", 2_000_000), 64),
    "png of empty idats": lambda: black_png(8, 2, _chunks(b"IDAT", b"", 2_000_000), 64),
    "png of a chunk longer than the file": lambda: black_png(8, 2, b"\x1e\0\0\0IDAT", 64),
    "png of a last chunk longer than the file": lambda: black_png(8, 2, side=64)[:-12] + b"\x7f\0\0\0IEND",
    "png of many frames": lambda: black_png(
        8,
        2,
        png_chunk(b"acTL", struct.pack(">II", 50_000, 0))
        + png_chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, SIDE, SIDE, 0, 0, 1, 1, 0, 0)),
    ),
    "png with an absurd table in its profile": lambda: black_png(
        8, 2, png_chunk(b"iCCP", b"a\0\0" + zlib.compress(cube_profile())), 2000
    ),
    "gif of one long comment": lambda: _comments(100_000),
    "gif of 2000 frames": lambda: saved(
        Image.new("P", (500, 500)), "GIF", save_all=True, append_images=[Image.new("P", (500, 500), 1)] * 2000
    ),
    "bmp of one row": _long_bmp,
    "webp animated": lambda: _animated("WEBP", 8000),
    "tiff of overlapping tags": lambda: _tiff_with_tags(20_000, 1_000_000),
    "tiff of fewer overlapping tags": lambda: _tiff_with_tags(900, 1_000_000),
    "tiff of strips of one pixel": lambda: tiff_of_strips(1, 65_000, 8, 1, 1, zeros(1)),
    "tiff of overlapping strips": lambda: tiff_of_strips(64, 6400, 8, 1, 1, zlib.compress(bytes(64)) + bytes(3 << 20)),
    "avif": lambda: flat("RGB", "AVIF", 6000, quality=10, speed=10),
}
