"""Low-resolution logits -> logits and masks at the size of an image, by linear interpolation along each axis.

The authors' programs interpolate whole maps, some of them twice. Here, both interpolations of an axis are one matrix,
which has two or three numbers in each row. Only the part of the image is computed that can be above a threshold, in
strips that fit into the processor's cache, where they are compared with the threshold at once.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sam_model.types import Mask

STRIP_PIXELS = 1 << 16  # of float32: a quarter of a mebibyte
MAX_PRODUCT = 1 << 18  # numbers times numbers; OpenBLAS shares larger products between threads that wait for each other

Floats = NDArray[np.float32]
Region = tuple[slice, slice]  # rows and columns


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
    found, place = upscaled_part(logits, rows, columns, threshold, region)
    mask[place] = found
    return mask


def upscaled_part(
    logits: Floats, rows: Axis, columns: Axis, threshold: float, region: Region | None = None
) -> tuple[Mask, Region]:
    """Return the mask of `upscaled_mask` in a region of the image outside of which it is False, and that region."""
    place = common_region(region_above(logits, rows, columns, threshold), region)
    (top, bottom), (left, right) = ((part.start, part.stop) for part in place)
    mask: Mask = np.empty((bottom - top, right - left), dtype=bool)
    for part, strip in upscaled_strips(logits, rows, columns, place):
        np.greater(strip, np.float32(threshold), out=mask[part.start - top : part.stop - top])
    return mask, place


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
    first, weights = _weights(rows, top, bottom)
    across = _stretched(logits[first : first + weights.shape[1]], columns)[:, left:right]
    height = max(1, min(bottom - top, STRIP_PIXELS // (right - left)))
    buffer = np.empty((height, right - left), np.float32)
    for start in range(0, bottom - top, height):
        down = weights[start : start + height]
        cells = np.flatnonzero(down[[0, -1]].any(axis=0))
        near = slice(int(cells[0]), int(cells[-1]) + 1)  # rows of a strip are interpolated from few rows of cells
        strip, down = buffer[: len(down)], np.ascontiguousarray(down[:, near])
        width = max(1, MAX_PRODUCT // down.size)
        for column in range(0, right - left, width):
            part = slice(column, column + width)
            np.matmul(down, across[near, part], out=strip[:, part])
        yield slice(top + start, top + start + len(strip)), strip


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


def _weights(axis: Axis, first: int, last: int) -> tuple[int, Floats]:
    """Return the first of N cells, and the matrix (`last` - `first`, N) with which pixels are computed from them."""
    below, above, share = _places(np.arange(first, last), axis.inner, axis.full)
    fine = np.arange(axis.start + below[0], axis.start + above[-1] + 1)  # the fine pixels needed
    lower, upper, part = _places(fine, axis.cells, axis.fine)
    start = int(lower[0])
    cells = np.eye(int(upper[-1]) + 1 - start, dtype=np.float32)
    steps = _interpolated(cells, lower - start, upper - start, part)
    return start, _interpolated(steps, below - below[0], above - below[0], share)


def _places(
    pixels: NDArray[np.intp], low: int, full: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Return the cells before and after each pixel's centre, when `low` cells become `full` pixels, and its position
    between their centres, 0..1.
    """
    place = np.maximum((pixels.astype(np.float32) + np.float32(0.5)) * np.float32(low / full) - np.float32(0.5), 0)
    below = np.minimum(place.astype(np.intp), low - 1)
    return below, np.minimum(below + 1, low - 1), (place - below).astype(np.float32)


def _interpolated(rows: Floats, below: NDArray[np.intp], above: NDArray[np.intp], share: Floats) -> Floats:
    """Return rows between those of (N, W), linearly."""
    between: Floats = rows[below] * (1 - share[:, None]) + rows[above] * share[:, None]
    return between
