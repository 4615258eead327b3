"""Image files written by Pillow, or byte by byte where Pillow cannot write the format's variant."""

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
DISPLAY_P3 = ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))
ADOBE_RGB = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
D65 = (0.3127, 0.3290)


def saved(pixels: NDArray[Any] | Image.Image, fmt: str, **options: Any) -> bytes:
    """Return an image file written by Pillow."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = io.BytesIO()
    image.save(file, fmt, **options)
    return file.getvalue()


def exif(orientation: int, order: str = ">") -> bytes:
    """Return EXIF data with only an orientation, without the `Exif` header."""
    mark = {">": b"MM\0*", "<": b"II*\0"}[order]
    return mark + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def jpeg_with_exif(jpeg: bytes, data: bytes) -> bytes:
    """Return a JPEG with an EXIF segment directly after its first two bytes."""
    payload = b"Exif\0\0" + data
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + jpeg[2:]


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """Return a PNG chunk: length, type, data and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(samples: NDArray[Any], depth: int, colour_type: int, before: bytes = b"", after: bytes = b"") -> bytes:
    """A PNG of whole bytes per sample, with further chunks before or after the pixels.

    `colour_type` is 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA.
    """
    height, width = samples.shape[:2]
    rows = samples.astype(">u2" if depth == 16 else np.uint8)
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    chunks = png_chunk(b"IHDR", header) + before + png_chunk(b"IDAT", pixels) + after + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def gamma_chunk(gamma: float) -> bytes:
    """Return a PNG's gAMA chunk."""
    return png_chunk(b"gAMA", struct.pack(">I", round(gamma * 100_000)))


def chromaticity_chunk(white: Sequence[float], primaries: Sequence[Sequence[float]]) -> bytes:
    """Return a PNG's cHRM chunk."""
    numbers = [*white, *(number for primary in primaries for number in primary)]
    return png_chunk(b"cHRM", struct.pack(">8I", *[round(number * 100_000) for number in numbers]))


def matrix_profile(primaries: Sequence[Sequence[float]], gamma: float) -> bytes:
    """Return an ICC profile (version 2.4) of an RGB monitor with D65 white."""
    white, d50 = _xyz(*D65), np.array([0.9642, 1.0, 0.8249])
    matrix = np.stack([_xyz(*primary) for primary in primaries], axis=1)
    matrix = matrix * np.linalg.solve(matrix, white)
    cones = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    matrix = np.linalg.inv(cones) @ np.diag((cones @ d50) / (cones @ white)) @ cones @ matrix
    columns = {f"{name}XYZ".encode(): _xyz_tag(matrix[:, at]) for at, name in enumerate("rgb")}
    curves = {f"{name}TRC".encode(): _gamma_tag(gamma) for name in "rgb"}
    return _profile(b"mntr", b"RGB ", b"XYZ ", columns | curves)


def grey_profile(gamma: float) -> bytes:
    """Return an ICC profile of a grey monitor."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _gamma_tag(gamma)})


def ink_profile() -> bytes:
    """Return a CMYK printer profile, linear from CMYK to Lab: every interpolation gives the same values."""
    corners = [(c, m, y, k) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    table = b"".join(
        bytes([255 - 40 * c - 30 * m - 25 * y - 150 * k, 128 + 40 * c, 128 - 40 * m]) for c, m, y, k in corners
    )
    identity = bytes(range(256))
    matrix = b"".join(_fixed(number) for number in np.eye(3).ravel())
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + matrix + identity * 4 + table + identity * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": lut})


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + b"\0" * 79,
        b"cprt": b"text\0\0\0\0none\0\0\0\0",
        b"wtpt": _xyz_tag((0.9642, 1.0, 0.8249)),
        **tags,
    }
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    size = 128 + len(table) + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"\0\0\0\0", 0x02400000, kind, space, connection)
    illuminant = _fixed(0.9642) + _fixed(1.0) + _fixed(0.8249)
    return header + b"\0" * 12 + b"acsp" + b"\0" * 28 + illuminant + b"\0" * 48 + table + body


def _fixed(number: float) -> bytes:
    return struct.pack(">i", round(number * 65536))


def _xyz(x: float, y: float) -> NDArray[np.float64]:
    return np.array([x / y, 1, (1 - x - y) / y])


def _xyz_tag(numbers: Sequence[float] | NDArray[np.float64]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(_fixed(number) for number in numbers)


def _gamma_tag(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"


def colours(height: int = 20, width: int = 30) -> Pixels:
    """Return smooth colours (H, W, 3), which JPEG keeps, with corners that differ in all orientations."""
    rows, columns = np.mgrid[0:height, 0:width] / np.array([height - 1, width - 1]).reshape(2, 1, 1)
    pixels = np.stack([rows, columns, (rows + columns) / 2], axis=2) * 200 + 20
    pixels[: height // 4, : width // 2] += 35
    return pixels.astype(np.uint8)


def _flat_and_clear() -> Pixels:
    rgba = np.dstack([colours(), np.tile(np.linspace(0, 255, 30).astype(np.uint8), (20, 1))])
    rgba[:5, :5] = (200, 10, 10, 0)  # red that nobody sees
    return rgba


def _deep(channels: int) -> NDArray[np.uint16]:
    ramp = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30) * 109
    deep = np.stack([ramp, ramp[::-1], ramp[:, ::-1], np.full_like(ramp, 65535)], axis=2)
    return {1: ramp, 2: deep[..., [0, 3]], 3: deep[..., :3], 4: deep}[channels]


def _late_gif() -> bytes:
    """Return a GIF whose first frame covers a part of the canvas; the rest is transparent."""
    frame = Image.fromarray(colours(8, 10)).quantize(16)
    data = bytearray(saved(frame, "GIF"))
    at = data.index(b"\x2c", 13)  # the image descriptor: left, top, width, height
    struct.pack_into("<HH", data, 6, 30, 20)
    struct.pack_into("<HH", data, at + 1, 7, 4)
    return bytes(data)


GREY = colours()[..., 1]
RGBA = _flat_and_clear()
STENCIL = np.dstack([colours(), np.where(RGBA[..., 3] < 128, 0, 255).astype(np.uint8)])
PALETTE = Image.fromarray(colours()).quantize(32)
P3 = matrix_profile(DISPLAY_P3, 2.2)
BEST: dict[str, Any] = {"quality": 100, "subsampling": 0}
INKS = Image.fromarray(np.dstack([colours(), GREY // 2]), "CMYK")

# name -> (how far a channel may be off, what writes the file). JPEG: the browser's own inverse DCT and upsampling.
IMAGES_A_BROWSER_SHOWS: dict[str, tuple[int, Callable[[], bytes]]] = {
    "png rgb": (0, lambda: saved(colours(), "PNG")),
    "png grey": (0, lambda: saved(GREY, "PNG")),
    "png 1 bit": (0, lambda: saved(Image.fromarray(GREY).convert("1"), "PNG")),
    "png palette": (0, lambda: saved(PALETTE, "PNG")),
    "png 2 bit palette": (0, lambda: saved(Image.fromarray(colours()).quantize(4), "PNG", bits=2)),
    "png palette with a clear entry": (0, lambda: saved(PALETTE, "PNG", transparency=3)),
    "png palette with opacities": (1, lambda: saved(PALETTE, "PNG", transparency=bytes(range(0, 256, 8)))),
    "png rgba": (1, lambda: saved(RGBA, "PNG")),
    "png grey and alpha": (1, lambda: saved(Image.fromarray(RGBA).convert("LA"), "PNG")),
    "png rgb with a clear colour": (0, lambda: saved(colours(), "PNG", transparency=tuple(colours()[3, 3].tolist()))),
    "png grey with a clear level": (0, lambda: saved(GREY, "PNG", transparency=int(GREY[3, 3]))),
    "png 16 bit grey": (0, lambda: png(_deep(1), 16, 0)),
    "png 16 bit rgb": (0, lambda: png(_deep(3), 16, 2)),
    "png 16 bit grey and alpha": (0, lambda: png(_deep(2), 16, 4)),
    "png 16 bit rgba": (0, lambda: png(_deep(4), 16, 6)),
    "png display p3": (1, lambda: saved(colours(), "PNG", icc_profile=P3)),
    "png rgba display p3": (1, lambda: saved(RGBA, "PNG", icc_profile=P3)),
    "png palette adobe rgb": (1, lambda: saved(PALETTE, "PNG", icc_profile=matrix_profile(ADOBE_RGB, 2.2))),
    "png grey with a grey profile": (1, lambda: saved(GREY, "PNG", icc_profile=grey_profile(1.8))),
    "png grey with an rgb profile": (1, lambda: saved(GREY, "PNG", icc_profile=matrix_profile(SRGB, 1.0))),
    "png rgb with a grey profile": (0, lambda: saved(colours(), "PNG", icc_profile=grey_profile(1.0))),
    "png with a broken profile": (0, lambda: saved(colours(), "PNG", icc_profile=b"no profile" * 20)),
    "png gamma 1": (1, lambda: png(colours(), 8, 2, gamma_chunk(1.0))),
    "png grey gamma 1": (1, lambda: png(GREY, 8, 0, gamma_chunk(1.0))),
    "png gamma near srgb": (0, lambda: png(colours(), 8, 2, gamma_chunk(0.45455))),
    "png gamma and sRGB chunk": (0, lambda: png(colours(), 8, 2, png_chunk(b"sRGB", b"\0") + gamma_chunk(1.0))),
    "png gamma and srgb primaries": (
        1,
        lambda: png(colours(), 8, 2, chromaticity_chunk(D65, SRGB) + gamma_chunk(0.45455)),
    ),
    "png gamma and adobe primaries": (
        1,
        lambda: png(colours(), 8, 2, chromaticity_chunk((0.3457, 0.3585), ADOBE_RGB) + gamma_chunk(0.5)),
    ),
    "png primaries alone": (0, lambda: png(colours(), 8, 2, chromaticity_chunk(D65, ADOBE_RGB))),
    "png exif after the pixels": (0, lambda: png(colours(), 8, 2, after=png_chunk(b"eXIf", exif(6)))),
    "jpeg": (2, lambda: saved(colours(), "JPEG", **BEST)),
    "jpeg 4:2:0": (3, lambda: saved(colours(), "JPEG", quality=95, subsampling=2)),
    "jpeg 4:2:2 progressive": (3, lambda: saved(colours(), "JPEG", quality=95, subsampling=1, progressive=True)),
    "jpeg grey": (1, lambda: saved(GREY, "JPEG", quality=100)),
    "jpeg rgb without yuv": (1, lambda: saved(colours(), "JPEG", keep_rgb=True, **BEST)),
    "jpeg display p3": (3, lambda: saved(colours(), "JPEG", icc_profile=P3, **BEST)),
    "jpeg grey with a grey profile": (2, lambda: saved(GREY, "JPEG", quality=100, icc_profile=grey_profile(1.8))),
    "jpeg cmyk": (2, lambda: saved(INKS, "JPEG", quality=100)),
    "jpeg cmyk with a profile": (3, lambda: saved(INKS, "JPEG", quality=100, icc_profile=ink_profile())),
    "jpeg exif little endian": (2, lambda: jpeg_with_exif(saved(colours(), "JPEG", **BEST), exif(8, "<"))),
    "jpeg exif broken": (2, lambda: jpeg_with_exif(saved(colours(), "JPEG", **BEST), exif(6)[:14])),
    "jpeg exif orientation 9": (2, lambda: jpeg_with_exif(saved(colours(), "JPEG", **BEST), exif(9))),
    "webp lossless": (0, lambda: saved(colours(), "WEBP", lossless=True)),
    "webp lossy": (3, lambda: saved(colours(), "WEBP", quality=95)),
    "webp rgba": (1, lambda: saved(RGBA, "WEBP", lossless=True, exact=True)),
    "webp display p3": (1, lambda: saved(colours(), "WEBP", lossless=True, icc_profile=P3)),
    "webp exif": (0, lambda: saved(colours(), "WEBP", lossless=True, exif=exif(6))),
    "webp animated": (
        0,
        lambda: saved(
            colours(), "WEBP", lossless=True, save_all=True, append_images=[Image.fromarray(colours()[::-1])]
        ),
    ),
    "bmp": (0, lambda: saved(colours(), "BMP")),
    "bmp palette": (0, lambda: saved(PALETTE, "BMP")),
    "bmp 32 bit": (0, lambda: saved(RGBA, "BMP")),
    "gif": (0, lambda: saved(PALETTE, "GIF")),
    "gif with a clear entry": (0, lambda: saved(PALETTE, "GIF", transparency=3)),
    "gif animated": (
        0,
        lambda: saved(PALETTE, "GIF", save_all=True, append_images=[Image.fromarray(colours()[::-1]).quantize(8)]),
    ),
    "gif with a small first frame": (0, _late_gif),
    "avif": (3, lambda: saved(colours(), "AVIF", quality=100, subsampling="4:4:4")),
    # clear or opaque: Chromium 156 takes opacities from 16 to 235 for the whole range
    "avif rgba": (3, lambda: saved(STENCIL, "AVIF", quality=100, subsampling="4:4:4")),
    "avif display p3": (3, lambda: saved(colours(), "AVIF", quality=100, subsampling="4:4:4", icc_profile=P3)),
} | {
    f"{name} orientation {orientation}": (tolerance, lambda write=write, orientation=orientation: write(orientation))
    for orientation in range(1, 9)
    for name, tolerance, write in (
        ("png", 0, lambda orientation: png(colours(), 8, 2, png_chunk(b"eXIf", exif(orientation)))),
        ("png rgba", 1, lambda orientation: png(RGBA, 8, 6, png_chunk(b"eXIf", exif(orientation)))),
        ("jpeg", 2, lambda orientation: jpeg_with_exif(saved(colours(), "JPEG", **BEST), exif(orientation))),
        ("jpeg grey", 1, lambda orientation: jpeg_with_exif(saved(GREY, "JPEG", quality=100), exif(orientation))),
        ("jpeg cmyk", 2, lambda orientation: jpeg_with_exif(saved(INKS, "JPEG", quality=100), exif(orientation))),
        (
            "avif",
            3,
            lambda orientation: saved(
                colours(), "AVIF", quality=100, subsampling="4:4:4", exif=b"Exif\0\0" + exif(orientation)
            ),
        ),
        ("webp", 0, lambda orientation: saved(colours(), "WEBP", lossless=True, exif=exif(orientation))),
    )
}
