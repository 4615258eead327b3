"""Run lengths of masks in COCO's format: column by column, runs that alternate between False and True.

Source: cocoapi common/maskApi.c and maskApi.h @ 8c9bcc3 (Simplified BSD), for uncompressed counts and for the
compressed text, which packs five bits into a character.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam_model.types import Mask


@dataclass(frozen=True, eq=False)
class RunLengths:
    """A mask of `size` (height, width) as run lengths. `counts` go column by column; the first run is False."""

    size: tuple[int, int]
    counts: NDArray[np.uint32]

    @property
    def area(self) -> int:
        """The number of True pixels."""
        return int(self.counts[1::2].sum(dtype=np.int64))

    @property
    def mask(self) -> Mask:
        """The mask (H, W), computed at each access."""
        height, width = self.size
        is_object = np.arange(len(self.counts)) % 2 == 1
        return np.ascontiguousarray(np.repeat(is_object, self.counts).reshape(width, height).T)

    def contains(self, x: float, y: float) -> bool:
        """Return whether a point in pixels is on the mask. A point on the image's far edge is on its last pixel."""
        height, width = self.size
        column, row = min(int(x), width - 1), min(int(y), height - 1)
        ends = np.cumsum(self.counts, dtype=np.int64)
        return bool(np.searchsorted(ends, column * height + row, side="right") % 2)  # every second run is True

    def to_coco(self, is_compressed: bool = False) -> dict[str, list[int] | str]:
        """Return COCO's dictionary. `counts` is a list of numbers, or a text if `is_compressed`."""
        counts = _compress(self.counts.tolist()) if is_compressed else self.counts.tolist()
        return {"size": list(self.size), "counts": counts}


def run_lengths_from_mask(
    mask: Mask, offset: tuple[int, int] = (0, 0), size: tuple[int, int] | None = None
) -> RunLengths:
    """Return the run lengths of a mask (H, W), or of a larger image that contains it.

    With `size`, the result is the mask of an image of that size which is False outside the given mask. Only the given
    mask's pixels are read, so a small mask of a large image costs little.

    Args:
        mask: (H, W).
        offset: (row, column) of the mask's first pixel in the image.
        size: (height, width) of the image; None for the mask's own size.
    """
    height, width = size or mask.shape
    row, column = offset
    columns = np.zeros((mask.shape[1], mask.shape[0] + 1), dtype=bool)  # each ends with a False
    columns[:, :-1] = mask.T
    flat = columns.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    if flat.size and flat[0]:
        changes = np.concatenate([[0], changes])
    # every run ends within its column, so starts and ends alternate
    position = (changes // columns.shape[1] + column) * height + changes % columns.shape[1] + row
    # a run that ends at the image's bottom continues at the top of the next column
    joined = np.flatnonzero(position[1:-1:2] == position[2::2]) * 2 + 1
    position = np.delete(position, np.concatenate([joined, joined + 1]))
    counts = np.diff(position, prepend=0, append=height * width)
    if len(counts) > 1 and counts[-1] == 0:
        counts = counts[:-1]
    return RunLengths((height, width), counts.astype(np.uint32))


def run_lengths_from_coco(coco: dict[str, list[int] | str]) -> RunLengths:
    """Return the run lengths in COCO's dictionary, compressed or not.

    Raises:
        ValueError: the counts do not sum to the size of the image.
    """
    height, width = (int(side) for side in coco["size"])
    counts = coco["counts"]
    numbers = _decompress(counts) if isinstance(counts, str) else counts
    if any(number < 0 for number in numbers) or sum(numbers) != height * width:
        raise ValueError(
            f"counts: the runs sum to {sum(numbers)}; needed: {height * width} for an image {height} x {width}"
        )
    return RunLengths((height, width), np.array(numbers, dtype=np.uint32))


def _compress(counts: list[int]) -> str:
    """Return the counts as COCO's text.

    From the fourth number on, the difference to the number two before is written. A number takes characters of five
    bits each, the low bits first: 48 plus the bits of the two's complement, plus 32 if more follow. Bit 16 of the last
    character is the sign.
    """
    text = bytearray()
    for index, count in enumerate(counts):
        number = count - counts[index - 2] if index > 2 else count
        while True:
            bits, number = number & 31, number >> 5
            is_last = number == (-1 if bits & 16 else 0)
            text.append(48 + bits + (0 if is_last else 32))
            if is_last:
                break
    return text.decode("ascii")


def _decompress(text: str) -> list[int]:
    counts: list[int] = []
    number = shift = 0
    for character in text.encode("ascii"):
        bits = character - 48
        number |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                number -= 1 << shift
            counts.append(number + counts[-2] if len(counts) > 2 else number)
            number = shift = 0
    return counts


def intersection_area(one: RunLengths, other: RunLengths) -> int:
    """Return the number of pixels that two masks of one size share, from their run lengths."""
    ends = [np.cumsum(each.counts, dtype=np.int64) for each in (one, other)]
    edges = np.unique(np.concatenate(ends))
    starts = np.concatenate([[0], edges[:-1]])
    inside = [np.searchsorted(end, starts, side="right") % 2 == 1 for end in ends]  # every second run is True
    return int((edges - starts)[inside[0] & inside[1]].sum())
