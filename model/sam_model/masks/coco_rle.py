"""Masks as run lengths in COCO's order: column by column, the lengths of runs that alternate from False to True.

Source: cocoapi common/maskApi.c and maskApi.h @ 8c9bcc3 (Simplified BSD): uncompressed counts, and the compressed
text that packs five bits into a character.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam_model.types import Mask


@dataclass(frozen=True, eq=False)
class RunLengths:
    """A mask of `size` (height, width) as its column-wise run lengths `counts`, the first one of False."""

    size: tuple[int, int]
    counts: NDArray[np.uint32]

    @property
    def area(self) -> int:
        """The number of True pixels."""
        return int(self.counts[1::2].sum(dtype=np.int64))

    @property
    def mask(self) -> Mask:
        """The mask itself (H, W), made anew at each call."""
        height, width = self.size
        is_object = np.arange(len(self.counts)) % 2 == 1
        return np.ascontiguousarray(np.repeat(is_object, self.counts).reshape(width, height).T)

    def to_coco(self, is_compressed: bool = False) -> dict[str, list[int] | str]:
        """COCO's dictionary, `counts` a list of numbers or, compressed, text."""
        counts = _compress(self.counts.tolist()) if is_compressed else self.counts.tolist()
        return {"size": list(self.size), "counts": counts}


def run_lengths_from_mask(
    mask: Mask, offset: tuple[int, int] = (0, 0), size: tuple[int, int] | None = None
) -> RunLengths:
    """The run lengths of a mask (H, W), or of a picture of `size` that is False but for the mask at `offset`.

    Only the mask's own pixels are looked at: the runs of a small mask in a large picture cost little.

    Args:
        mask: (H, W).
        offset: (row, column) of the mask's first pixel in the picture.
        size: (height, width) of the picture; that of the mask when None.
    """
    height, width = size or mask.shape
    row, column = offset
    columns = np.zeros((mask.shape[1], mask.shape[0] + 1), dtype=bool)  # each ends with a False
    columns[:, :-1] = mask.T
    flat = columns.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    if flat[0]:
        changes = np.concatenate([[0], changes])
    # every run ends in its column, so starts and ends alternate
    position = (changes // columns.shape[1] + column) * height + changes % columns.shape[1] + row
    # a run to the bottom of the picture goes on at the top of the next column
    joined = np.flatnonzero(position[1:-1:2] == position[2::2]) * 2 + 1
    position = np.delete(position, np.concatenate([joined, joined + 1]))
    counts = np.diff(position, prepend=0, append=height * width)
    if len(counts) > 1 and counts[-1] == 0:
        counts = counts[:-1]
    return RunLengths((height, width), counts.astype(np.uint32))


def run_lengths_from_coco(coco: dict[str, list[int] | str]) -> RunLengths:
    """The run lengths in COCO's dictionary, compressed or not.

    Raises:
        ValueError: the counts do not fill the picture.
    """
    height, width = (int(side) for side in coco["size"])
    counts = coco["counts"]
    numbers = _decompress(counts) if isinstance(counts, str) else counts
    if any(number < 0 for number in numbers) or sum(numbers) != height * width:
        raise ValueError(f"counts: the runs sum to {sum(numbers)}, a picture {height} x {width} needs {height * width}")
    return RunLengths((height, width), np.array(numbers, dtype=np.uint32))


def _compress(counts: list[int]) -> str:
    """From the fourth number on, each is the difference to the one two before; low five bits first.

    A character is 48 plus five bits of the two's complement plus 32 where more follow; the last one's bit 16 is
    the sign.
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
