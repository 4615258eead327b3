"""Low-resolution logits -> logits and masks at the size of an image, by linear interpolation along each axis.

The authors' programs interpolate whole maps, some of them twice. Here, both interpolations of an axis are one: a pixel
is a weighted sum of three cells. Only the part of the image is computed that can be above a threshold. The loops are
compiled by Numba (`upscaling_kernels`); without it, NumPy computes strips that fit into the processor's cache, where
they are compared with the threshold at once. The results differ by rounding only. A process uses one of the two, so it
gives the same mask for the same logits.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sam_model.runtime.compiled_loops import CompiledLoops
from sam_model.types import Mask

CELLS = 3  # next to each other: from those a pixel is interpolated along an axis
STRIP_PIXELS = 1 << 16  # of float32: a quarter of a mebibyte
MAX_PRODUCT = 1 << 18  # numbers times numbers; OpenBLAS shares larger products between threads that wait for each other

Floats = NDArray[np.float32]
Region = tuple[slice, slice]  # rows and columns

loops = CompiledLoops("sam_model.masks.upscaling_kernels")


@dataclass(frozen=True)
class Axis:
    """How one axis of low-resolution logits becomes an axis of an image.

    The `cells` are stretched to `fine` pixels. Those from `start` on, `inner` of them, are stretched to `full` pixels.
    """

    cells: int
    fine: int
    start: int
    inner: int
    full: int

    def __post_init__(self) -> None:
        if self.cells < CELLS or self.fine < self.cells:
            raise ValueError(
                f"{self.cells} cells become {self.fine} pixels; needed: {CELLS} cells or more, and no fewer pixels"
            )


@dataclass(frozen=True, eq=False)
class Interpolation:
    """The cells that the pixels of an axis are interpolated from: three in a row."""

    first: NDArray[np.uint32]  # (`full`,), of the three cells
    weights: Floats  # (3, `full`)


def upscaled(maps: Tensor, rows: Axis, columns: Axis) -> Tensor:
    """Interpolate maps (K, `rows.cells`, `columns.cells`) to (K, `rows.full`, `columns.full`)."""
    if maps.device.type != "cpu":
        return upscaled_on_device(maps, rows, columns)
    found = np.empty((len(maps), rows.full, columns.full), np.float32)
    whole = slice(0, rows.full), slice(0, columns.full)
    for one, target in zip(maps.detach().float().numpy(), found, strict=True):
        for part, strip in upscaled_strips(one, rows, columns, whole):
            target[part] = strip
    return torch.from_numpy(found)


def upscaled_on_device(maps: Tensor, rows: Axis, columns: Axis) -> Tensor:
    """Do the same with PyTorch, on the maps' device: a GPU interpolates whole maps faster than parts of them."""
    fine = F.interpolate(maps[None], (rows.fine, columns.fine), mode="bilinear", align_corners=False)
    inner = fine[..., rows.start : rows.start + rows.inner, columns.start : columns.start + columns.inner]
    return F.interpolate(inner, (rows.full, columns.full), mode="bilinear", align_corners=False)[0]


def upscaled_mask(logits: Floats, rows: Axis, columns: Axis, threshold: float, region: Region | None = None) -> Mask:
    """Return the mask (`rows.full`, `columns.full`) of logits (`rows.cells`, `columns.cells`).

    Args:
        logits: at low resolution.
        rows: from the logits to the image.
        columns: the same.
        threshold: logits above it belong to the mask.
        region: pixels outside do not belong to the mask; None for no such limit.
    """
    mask = np.zeros((rows.full, columns.full), dtype=bool)
    place = common_region(region_above(logits, rows, columns, threshold), region)
    mark_above(mask[place], logits, rows, columns, place, threshold)
    return mask


def upscaled_part(
    logits: Floats, rows: Axis, columns: Axis, threshold: float, region: Region | None = None
) -> tuple[Mask, Region]:
    """Return the mask of `upscaled_mask` in a region of the image outside of which it is False, and that region."""
    place = common_region(region_above(logits, rows, columns, threshold), region)
    mask: Mask = np.zeros([part.stop - part.start for part in place], dtype=bool)
    mark_above(mask, logits, rows, columns, place, threshold)
    return mask, place


def mark_above(
    mask: Mask, logits: Floats, rows: Axis, columns: Axis, region: Region, threshold: float, offset: float = 0.0
) -> tuple[int, int]:
    """Set the pixels of a mask that are above a threshold.

    Return the number of pixels above `threshold` - `offset` and above `threshold` + `offset`; both are 0 without an
    offset.

    Args:
        mask: (h, w), of the region; all False.
        logits: at low resolution.
        rows: from the logits to the image.
        columns: the same.
        region: of the image.
        threshold: logits above it belong to the mask.
        offset: 0 or more.
    """
    low, middle, high = (np.float32(threshold + distance) for distance in (-offset, 0.0, offset))
    kernels = loops.wait()  # not `get`: the first mask would be rounded otherwise than the next ones
    if kernels is not None:
        down, across = interpolation(rows), interpolation(columns)
        n_low, n_high = kernels.mark_above(
            np.require(logits, np.float32, ("C", "W")),
            down.first[region[0]],
            down.weights[:, region[0]],
            across.first[region[1]],
            across.weights[:, region[1]],
            low,
            middle,
            high,
            mask,
        )
        return n_low, n_high
    n_low = n_high = 0
    for part, strip in upscaled_strips(logits, rows, columns, region):
        np.greater(strip, middle, out=mask[part.start - region[0].start : part.stop - region[0].start])
        if offset:
            n_low += np.count_nonzero(strip > low)
            n_high += np.count_nonzero(strip > high)
    return n_low, n_high


def region_above(logits: Floats, rows: Axis, columns: Axis, threshold: float) -> Region:
    """Return a region of the image outside of which no logit is above a threshold; it may be empty."""
    above = logits > threshold
    is_used = [np.asarray(above.any(axis=axis)) for axis in (1, 0)]
    return _pixels_near(is_used[0], rows), _pixels_near(is_used[1], columns)


def common_region(region: Region, other: Region | None) -> Region:
    """Return the overlap of two regions; None is the whole image."""
    if other is None:
        return region
    starts = [max(a.start, b.start) for a, b in zip(region, other, strict=True)]
    stops = [min(a.stop, b.stop) for a, b in zip(region, other, strict=True)]
    one, two = (slice(start, max(start, stop)) for start, stop in zip(starts, stops, strict=True))
    return one, two


def upscaled_strips(logits: Floats, rows: Axis, columns: Axis, region: Region) -> Iterator[tuple[slice, Floats]]:
    """Yield the logits of a region of the image, a few rows at a time: which rows, and their logits.

    The array is overwritten by the next strip.
    """
    (top, bottom), (left, right) = ((part.start, part.stop) for part in region)
    if bottom <= top or right <= left:
        return
    down = interpolation(rows)
    first, last = int(down.first[top]), int(down.first[bottom - 1]) + CELLS
    across = _stretched(logits[first:last], columns)[:, left:right]
    height = max(1, min(bottom - top, STRIP_PIXELS // (right - left)))
    buffer = np.empty((height, right - left), np.float32)
    for start in range(top, bottom, height):
        part = slice(start, min(start + height, bottom))
        cells = down.first[part].astype(np.intp)
        near = slice(int(cells[0]) - first, int(cells[-1]) - first + CELLS)  # few rows of cells
        weights = np.zeros((len(cells), near.stop - near.start), np.float32)
        np.put_along_axis(weights, cells[:, None] - cells[0] + np.arange(CELLS), down.weights[:, part].T, axis=1)
        strip = buffer[: len(cells)]
        width = max(1, MAX_PRODUCT // weights.size)
        for column in range(0, right - left, width):
            piece = slice(column, column + width)
            np.matmul(weights, across[near, piece], out=strip[:, piece])
        yield part, strip


def _stretched(cells: Floats, axis: Axis) -> Floats:
    """Return cells (N, `axis.cells`) as pixels (N, `axis.full`)."""
    count = len(cells)
    fine = cells
    if axis.fine != axis.cells:
        fine = np.asarray(cv2.resize(cells, (axis.fine, count), interpolation=cv2.INTER_LINEAR), np.float32)
    inner = np.ascontiguousarray(fine[:, axis.start : axis.start + axis.inner])
    return np.asarray(cv2.resize(inner, (axis.full, count), interpolation=cv2.INTER_LINEAR), np.float32)


def _pixels_near(is_used: NDArray[np.bool_], axis: Axis) -> slice:
    """Return the pixels of an axis that are interpolated from at least one of the cells."""
    cells = np.flatnonzero(is_used)
    if len(cells) == 0:
        return slice(0, 0)
    reach = 1 + axis.cells / axis.fine
    first, last = (
        ((cell + 0.5) * axis.fine / axis.cells - axis.start) * axis.full / axis.inner - 0.5
        for cell in (cells[0] - reach, cells[-1] + reach)
    )
    start = min(max(0, math.floor(first)), axis.full)
    return slice(start, min(max(start, math.ceil(last) + 1), axis.full))


@lru_cache(maxsize=64)
def interpolation(axis: Axis) -> Interpolation:
    """Return the cells and weights of all pixels of an axis; they must not be changed."""
    below, above, share = _places(np.arange(axis.full), axis.inner, axis.full)  # fine pixels
    first = np.minimum(_places(axis.start + below, axis.cells, axis.fine)[0], axis.cells - CELLS)
    weights = np.zeros((CELLS, axis.full), np.float32)
    pixels = np.arange(axis.full)
    for fine, fine_weights in ((below, 1 - share), (above, share)):
        lower, upper, part = _places(axis.start + fine, axis.cells, axis.fine)
        weights[lower - first, pixels] += (1 - part) * fine_weights
        weights[upper - first, pixels] += part * fine_weights
    return Interpolation(first.astype(np.uint32), weights)


def _places(
    pixels: NDArray[np.intp], low: int, full: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Return the cells before and after each pixel's centre, when `low` cells become `full` pixels, and its position
    between their centres, 0..1.
    """
    place = np.maximum((pixels.astype(np.float32) + np.float32(0.5)) * np.float32(low / full) - np.float32(0.5), 0)
    below = np.minimum(place.astype(np.intp), low - 1)
    return below, np.minimum(below + 1, low - 1), (place - below).astype(np.float32)
