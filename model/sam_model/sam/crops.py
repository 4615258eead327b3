"""Point grids, and overlapping crops of the image in layers.

Source: SAM, arXiv:2304.02643, appendix B, "Cropping"; segment-anything 1.0, utils/amg.py (Apache-2.0).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam_model.masks.boxes import Boxes

PointGrid = NDArray[np.float64]
EDGE_PIXELS = 20  # a box that ends within this distance of a crop's edge may be cut off there


@dataclass(frozen=True)
class Crop:
    """A part of the image, pixel ends exclusive. `layer` 0 is the whole image; layer n has 4 ** n crops."""

    x_min: int
    y_min: int
    x_max: int
    y_max: int
    layer: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.y_max - self.y_min, self.x_max - self.x_min

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(x_min, y_min, x_max, y_max)."""
        return self.x_min, self.y_min, self.x_max, self.y_max


def crops_of(image_size: tuple[int, int], n_layers: int, overlap_ratio: float) -> Iterator[Crop]:
    """Yield the whole image, then `n_layers` layers of smaller crops, column by column.

    Args:
        image_size: (height, width) in pixels.
        n_layers: layers beside the whole image.
        overlap_ratio: overlap of layer 1's crops as a share of the image's short side; it halves with each layer.
    """
    height, width = image_size
    yield Crop(0, 0, width, height, layer=0)
    for layer in range(1, n_layers + 1):
        per_side = 2**layer
        overlap = int(overlap_ratio * min(height, width) * (2 / per_side))
        crop_width, crop_height = (math.ceil((overlap * (per_side - 1) + side) / per_side) for side in (width, height))
        for column in range(per_side):
            for row in range(per_side):
                x, y = column * (crop_width - overlap), row * (crop_height - overlap)
                if x < width and y < height:  # a small image has fewer crops
                    yield Crop(x, y, min(x + crop_width, width), min(y + crop_height, height), layer)


def point_grid(per_side: int) -> PointGrid:
    """Return the centres (per_side ** 2, 2) of a grid of cells over 0..1, row by row, x before y."""
    middles = np.linspace(1 / (2 * per_side), 1 - 1 / (2 * per_side), per_side)
    x, y = np.meshgrid(middles, middles)
    return np.stack([x.ravel(), y.ravel()], axis=1)


def point_grids(per_side: int, n_layers: int, downscale_factor: int) -> tuple[PointGrid, ...]:
    """Return one grid per layer. Layer n has `per_side` / `downscale_factor` ** n points per side, and at least one."""
    return tuple(point_grid(max(1, int(per_side / downscale_factor**layer))) for layer in range(n_layers + 1))


def is_cut_off(boxes: Boxes, crop: Crop, image_size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return for each box (N, 4), in image pixels, whether it ends near a crop edge inside the image.

    Boxes are given by their first and last pixel, as the reference compares them.
    """
    height, width = image_size
    is_near_crop = np.abs(boxes - np.array(crop.box)) <= EDGE_PIXELS
    is_near_image = np.abs(boxes - np.array([0, 0, width, height])) <= EDGE_PIXELS
    return np.asarray((is_near_crop & ~is_near_image).any(axis=1))
