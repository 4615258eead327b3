"""Sizes of the YOLOv8 models.

Source: the published descriptions of YOLOv8 (depth, width and channel limit of each size; strides 8, 16, 32).
"""

from dataclasses import dataclass

STRIDES = (8, 16, 32)  # pixels of the input per cell, for each of the three maps
PROTOTYPES = 32  # prototype masks
DISTANCE_BINS = 16  # a box edge lies 0..15 strides from its cell's centre


@dataclass(frozen=True)
class YoloSize:
    """One size of YOLOv8."""

    letter: str
    depth: float  # multiplies the number of blocks
    width: float  # multiplies the number of channels
    max_channels: int  # before `width` is applied

    def channels(self, count: int) -> int:
        """Return the number of channels in this size: a multiple of 8, rounded up."""
        return -int(-min(count, self.max_channels) * self.width // 8) * 8

    def blocks(self, count: int) -> int:
        """Return the number of blocks in this size, at least one."""
        return max(1, round(count * self.depth))


SIZES = (
    YoloSize("n", depth=1 / 3, width=0.25, max_channels=1024),
    YoloSize("s", depth=1 / 3, width=0.50, max_channels=1024),
    YoloSize("m", depth=2 / 3, width=0.75, max_channels=768),
    YoloSize("l", depth=1.0, width=1.00, max_channels=512),
    YoloSize("x", depth=1.0, width=1.25, max_channels=512),
)
