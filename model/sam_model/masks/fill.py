"""Filling of outlines: outlines -> mask."""

from collections.abc import Sequence

import numpy as np

from sam_model.masks.polygons import Outline
from sam_model.types import Mask


def fill_outlines(outlines: Sequence[Outline], size: tuple[int, ...]) -> Mask:
    """Return the mask (H, W) of the pixels with their centre in one of the outlines, as COCO's tools fill them.

    The outlines must not overlap.
    """
    height, width = size
    turns = np.zeros((height, width + 1), np.uint8)
    for outline in outlines:
        (x, y), (next_x, next_y) = outline.T.astype(np.float64), np.roll(outline, -1, axis=0).T.astype(np.float64)
        top, bottom = (np.clip(np.ceil(f(y, next_y) - 0.5), 0, height).astype(int) for f in (np.minimum, np.maximum))
        edge = np.repeat(np.arange(len(x)), bottom - top)  # each edge once for every row whose centre it crosses
        row = np.arange(len(edge)) - np.repeat(np.cumsum(bottom - top) - bottom, bottom - top)
        crossing = x[edge] + (row + 0.5 - y[edge]) * ((next_x - x)[edge] / (next_y - y)[edge])
        np.add.at(turns, (row, np.clip(np.ceil(crossing - 0.5), 0, width).astype(int)), 1)
    return np.asarray(np.cumsum(turns[:, :-1], axis=1, dtype=np.uint8) % 2 == 1)  # an overflow keeps the parity
