"""TIFF: its first directory, read before decoding, and values of more than 8 bits, decoded by OpenCV.

Pillow opens only some of the deep files, and none with several channels of floats; OpenCV, through libtiff, most.
Source: TIFF 6.0, sections 2 (file structure), 8 (baseline fields) and 15 (tiles); BigTIFF.
"""

import struct
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_model.images.errors import BrokenImageError, ImageDecodeError, ImageTooLargeError
from sam_model.images.jpeg import MAX_SCAN_PIXELS

MAX_TAGS = 1000
MAX_PIECES = 200_000  # strips and tiles: 100 megapixels in tiles of 23 x 23
MAX_REREAD_BYTES = 16 << 20  # pieces may share their bytes, as empty tiles do, but not large ones

Values = NDArray[np.integer | np.floating]

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _ORIENTATION, _SAMPLES, _ROWS, _PLANES = 256, 257, 258, 259, 274, 277, 278, 284
_STRIP_OFFSETS, _STRIP_BYTES, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES = 273, 279, 322, 323, 324, 325
_NEEDED = {
    *(_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _ORIENTATION, _SAMPLES, _ROWS, _PLANES),
    *(_STRIP_OFFSETS, _STRIP_BYTES, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES),
}
_OLD_JPEG, _JPEG = 6, 7
_SEPARATE = 2
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_WHOLE_NUMBERS = {1: "u1", 3: "u2", 4: "u4", 16: "u8"}


@dataclass(frozen=True)
class TiffHeader:
    """What decides how, and at which cost, a TIFF is decoded."""

    width: int
    height: int
    bits: int  # of the deepest channel
    samples: int
    is_turned: bool
    piece_bytes: int  # one strip or tile, decoded

    @property
    def memory(self) -> int:
        """Return the bytes that decoding takes at its peak, at most."""
        pixels = self.width * self.height
        if self.bits > 8:
            return 2 * pixels * self.samples * -(-self.bits // 8) + self.piece_bytes  # OpenCV 4.12 keeps two copies
        image = pixels * (1 if self.bits * self.samples <= 8 else 4)  # Pillow's
        return image * (2 if self.is_turned else 1) + self.piece_bytes + 3 * pixels


def is_tiff(data: bytes) -> bool:
    """Return whether `data` begins as a TIFF or BigTIFF does."""
    return data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"))


def tiff_header(data: bytes) -> TiffHeader:
    """Read the first directory of a TIFF.

    Raises:
        BrokenImageError: no directory, or one that makes no sense.
        ImageTooLargeError: more tags, pieces or JPEG scans than a real file has.
    """
    try:
        tags = _first_directory(data)
    except ImageDecodeError:
        raise
    except (struct.error, ArithmeticError, LookupError, ValueError) as error:
        raise BrokenImageError(f"the image is a broken TIFF: its directory cannot be read: {error}") from error

    def first(tag: int, default: int = 0) -> int:
        values = tags.get(tag)
        return default if values is None or values.size == 0 else int(values[0])

    width, height = first(_WIDTH), first(_HEIGHT)
    bits = int(tags[_BITS].max()) if _BITS in tags and tags[_BITS].size else 1
    samples = first(_SAMPLES, 1)
    is_separate = first(_PLANES, 1) == _SEPARATE
    if _TILE_WIDTH in tags:
        piece_width, piece_height = first(_TILE_WIDTH), first(_TILE_HEIGHT)
    else:
        piece_width, piece_height = width, min(first(_ROWS, height), height)
    if 0 in (width, height, bits, samples, piece_width, piece_height):
        raise BrokenImageError("the image is a broken TIFF: a size is 0 or missing")
    pieces = -(-width // piece_width) * -(-height // piece_height) * (samples if is_separate else 1)
    offsets = tags.get(_TILE_OFFSETS, tags.get(_STRIP_OFFSETS, np.zeros(0, np.uint64)))
    sizes = tags.get(_TILE_BYTES, tags.get(_STRIP_BYTES, np.zeros(0, np.uint64)))
    if max(pieces, offsets.size, sizes.size) > MAX_PIECES:
        raise ImageTooLargeError(
            f"the image is a TIFF of {max(pieces, offsets.size, sizes.size)} strips or tiles, more than {MAX_PIECES}"
        )
    if float(sizes.astype(np.float64).sum()) > max(MAX_REREAD_BYTES, 4 * len(data)):
        raise BrokenImageError("the image is a broken TIFF: its strips or tiles are larger than the file")
    _check_scans(data, first(_COMPRESSION, 1), offsets, sizes, piece_width * piece_height, width * height)
    return TiffHeader(
        width,
        height,
        bits,
        samples,
        first(_ORIENTATION, 1) != 1,
        piece_width * piece_height * -(-bits // 8) * (1 if is_separate else samples),
    )


def deep_values(data: bytes) -> Values | None:
    """Return values (H, W) or, in OpenCV's order, BGR or BGRA (H, W, C) of the first page, upright.

    None for what OpenCV cannot read.
    """
    try:
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if values is None or values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (3, 4)):
        return None
    return values


def _first_directory(data: bytes) -> dict[int, NDArray[np.unsignedinteger]]:
    """Return the values of the tags that we need."""
    order = "<" if data[:2] == b"II" else ">"
    is_big = data[2:4] in (b"+\0", b"\0+")
    (start,) = struct.unpack_from(f"{order}Q", data, 8) if is_big else struct.unpack_from(f"{order}I", data, 4)
    (entries,) = struct.unpack_from(f"{order}{'Q' if is_big else 'H'}", data, start)
    start += 8 if is_big else 2
    if entries > MAX_TAGS:
        raise ImageTooLargeError(f"the image is a TIFF of {entries} tags, more than {MAX_TAGS}")
    entry, inline = (f"{order}HHQ8s", 8) if is_big else (f"{order}HHI4s", 4)
    tags: dict[int, NDArray[np.unsignedinteger]] = {}
    total = 0
    for index in range(entries):
        tag, kind, count, value = struct.unpack_from(entry, data, start + index * struct.calcsize(entry))
        size = count * _TYPE_SIZES.get(kind, 1)
        at = 0
        if size > inline:
            total += size  # Pillow reads the values of all tags
            (at,) = struct.unpack(f"{order}{'Q' if is_big else 'I'}", value)
        if total > len(data):
            raise BrokenImageError("the image is a broken TIFF: its tags are larger than the file")
        if tag not in _NEEDED or kind not in _WHOLE_NUMBERS:
            continue
        if tag in tags:
            raise BrokenImageError(f"the image is a broken TIFF: tag {tag} is there twice")
        tags[tag] = np.frombuffer(data if size > inline else value, f"{order}{_WHOLE_NUMBERS[kind]}", count, at)
    return tags


def _check_scans(
    data: bytes,
    compression: int,
    offsets: NDArray[np.unsignedinteger],
    sizes: NDArray[np.unsignedinteger],
    piece_pixels: int,
    pixels: int,
) -> None:
    """Raise ImageTooLargeError for strips or tiles that are JPEGs of absurdly many scans."""
    start_of_scan = b"\xff\xda"
    if compression == _JPEG:
        pieces = zip(offsets.tolist(), sizes.tolist(), strict=False)
        work = sum(data.count(start_of_scan, at, at + size) for at, size in pieces) * piece_pixels
    elif compression == _OLD_JPEG:
        work = data.count(start_of_scan) * pixels
    else:
        return
    if work > MAX_SCAN_PIXELS:
        raise ImageTooLargeError(
            f"the image is a TIFF of JPEGs with {work} pixels in all scans, more than {MAX_SCAN_PIXELS}"
        )
