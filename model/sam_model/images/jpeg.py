"""Structure of a JPEG file, read before decoding: size, sampling and number of scans.

Source: ITU-T T.81, annex B. A decoder goes over the whole image once per scan, and a scan may take 50 bytes of the
file, so a small file can hold hours of work. libjpeg names the limit as the caller's task.
"""

import re
import struct
from dataclasses import dataclass

from sam_model.images.errors import BrokenImageError, ImageTooLargeError

MAX_SCANS = 100  # progressive files of common encoders have 6 to 20
MAX_SCAN_PIXELS = 2_000_000_000  # pixels x scans: 20 scans of 100 megapixels
MAX_SEGMENTS = 4000  # 64 KiB each at most
MAX_EXIF_SEGMENTS = 64  # Pillow appends each to those before

_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")  # in scan data 0xFF is followed by 0 or a restart marker
_SOI, _EOI, _SOS, _APP1 = 0xD8, 0xD9, 0xDA, 0xE1
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15, without DHT, JPG and DAC
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_ARITHMETIC = {*range(0xC9, 0xD0)}
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD8)}


@dataclass(frozen=True)
class JpegStructure:
    """What decides the cost of decoding a JPEG."""

    width: int
    height: int
    coefficient_bytes: int  # of the whole image, kept in memory where there are several scans
    scans: int

    def check_work(self) -> None:
        """Raise ImageTooLargeError for more scans than a real file has."""
        if self.scans > MAX_SCANS or self.scans * self.width * self.height > MAX_SCAN_PIXELS:
            raise ImageTooLargeError(
                f"the image is a JPEG of {self.scans} scans and {self.width} x {self.height} pixels, more than the"
                f" limit of {MAX_SCANS} scans or {MAX_SCAN_PIXELS} pixels in all scans"
            )


def jpeg_structure(data: bytes) -> JpegStructure:
    """Read the markers of the first image in `data`.

    Raises:
        BrokenImageError: no frame header, several of them, or a coding that browsers do not decode.
        ImageTooLargeError: too many segments.
    """
    at, segments, exif_segments, scans = 2, 0, 0, 0
    frame: tuple[int, int, int] | None = None
    is_progressive = False
    while (found := _MARKER.search(data, at)) is not None:
        marker, at = found[1][0], found.end()
        if marker == _EOI:
            break
        if marker in _WITHOUT_LENGTH or marker == _SOI:
            continue
        segments += 1
        if at + 2 > len(data):
            break
        (length,) = struct.unpack_from(">H", data, at)
        exif_segments += marker == _APP1 and data[at + 2 : at + 6] == b"Exif"
        if segments > MAX_SEGMENTS or exif_segments > MAX_EXIF_SEGMENTS:
            raise ImageTooLargeError(
                f"the image is a JPEG of more than {MAX_SEGMENTS} segments or {MAX_EXIF_SEGMENTS} EXIF segments"
            )
        if marker in _FRAMES:
            if frame is not None:
                raise BrokenImageError("the image is a broken JPEG: it has two frame headers")
            if marker in _ARITHMETIC:
                raise BrokenImageError("the image is a JPEG with arithmetic coding, which is not supported")
            frame = _frame(data[at + 2 : at + length])
            is_progressive = marker in _PROGRESSIVE
        scans += marker == _SOS
        at += length
    if frame is None:
        raise BrokenImageError("the image is a broken JPEG: it has no frame header")
    width, height, coefficients = frame
    return JpegStructure(width, height, coefficients * 2 if is_progressive or scans > 1 else 0, scans)


def _frame(header: bytes) -> tuple[int, int, int]:
    """Return width, height, and the number of coefficients of all components."""
    try:
        _, height, width, components = struct.unpack_from(">BHHB", header)
        sampling = [divmod(header[7 + 3 * index], 16) for index in range(components)]
    except (struct.error, IndexError) as error:
        raise BrokenImageError("the image is a broken JPEG: its frame header is cut off") from error
    if not sampling or any(not 1 <= factor <= 4 for pair in sampling for factor in pair):
        raise BrokenImageError("the image is a broken JPEG: its frame header has no valid sampling factors")
    widest, highest = max(h for h, _ in sampling), max(v for _, v in sampling)
    blocks = sum(-(-width * h // (8 * widest)) * -(-height * v // (8 * highest)) for h, v in sampling)
    return width, height, 64 * blocks
