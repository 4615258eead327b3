"""Masks of YOLO objects: linear combinations of the prototypes, at the image's resolution or at the network input's.

Source: YOLACT, arXiv:1904.02689, section 3.2 ("mask assembly", "cropping").
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam_model.masks.boxes import Boxes
from sam_model.types import Mask
from sam_model.yolo.decode import Floats, Objects
from sam_model.yolo.letterbox import Letterbox


@dataclass(frozen=True)
class _Axis:
    """How one axis of the prototypes becomes an axis of the masks.

    The `cells` are stretched to `fine` pixels. Those from `start` on, `inner` of them, are stretched to `full` pixels.
    """

    cells: int
    fine: int
    start: int
    inner: int
    full: int


def masks_of(objects: Objects, frame: Letterbox) -> Iterator[Mask]:
    """Yield the objects' masks (H, W) at the image's resolution, cropped to `objects.boxes`.

    These are the masks of Ultralytics 8.4 with `retina_masks=True`. The logits are interpolated in two steps: by 1, 2
    or 4, the smallest factor with which the grey borders of the input end between two pixels, and without the borders
    to the image.
    """
    if objects.prototypes is None:
        return
    cells = objects.prototypes.shape[1:]
    rows, columns = _axes(cells, frame)
    yield from _masks(objects, objects.boxes, rows, columns)


def masks_in_input(objects: Objects, frame: Letterbox) -> Iterator[Mask]:
    """Yield the objects' masks (`frame.size`) at the resolution of the network's input, with its grey borders.

    These are the masks of Ultralytics 8.4 with `retina_masks=False`, its default. They are cropped to
    `objects.input_boxes`, which are not clipped to the image.
    """
    if objects.prototypes is None or objects.input_boxes is None:
        return
    rows, columns = (
        _Axis(cells, cells, 0, cells, full)
        for cells, full in zip(objects.prototypes.shape[1:], frame.size, strict=True)
    )
    yield from _masks(objects, objects.input_boxes, rows, columns)


def _masks(objects: Objects, boxes: Boxes, rows: _Axis, columns: _Axis) -> Iterator[Mask]:
    """Yield a mask (`rows.full`, `columns.full`) per box: the pixels of the box whose logit is above zero."""
    assert objects.coefficients is not None
    assert objects.prototypes is not None
    combinations = objects.coefficients @ objects.prototypes.reshape(len(objects.prototypes), -1)
    for combination, box in zip(combinations.reshape(-1, rows.cells, columns.cells), boxes, strict=True):
        x0, y0, x1, y1 = (max(0, math.ceil(edge)) for edge in box)  # the pixels from the first edge up to the second
        x1, y1 = min(x1, columns.full), min(y1, rows.full)
        mask = np.zeros((rows.full, columns.full), dtype=bool)
        if x1 > x0 and y1 > y0:
            mask[y0:y1, x0:x1] = _stretched(_stretched(combination, rows, y0, y1).T, columns, x0, x1).T > 0
        yield mask


def _axes(cells: tuple[int, ...], frame: Letterbox) -> tuple[_Axis, _Axis]:
    """Return rows and columns from the prototypes to the image."""
    stride = frame.size[0] // cells[0]  # input pixels per cell
    starts = (frame.top, frame.left)
    borders = [full - inner for full, inner in zip(frame.size, frame.inner_size, strict=True)]
    coarse = math.gcd(stride, *starts, *borders)  # input pixels per fine pixel
    rows, columns = (
        _Axis(count, count * stride // coarse, start // coarse, inner // coarse, full)
        for count, start, inner, full in zip(cells, starts, frame.inner_size, frame.image_size, strict=True)
    )
    return rows, columns


def _stretched(cells: Floats, axis: _Axis, first: int, last: int) -> Floats:
    """Return the pixels `first` to `last` of an axis: (`axis.cells`, W) to (`last` - `first`, W)."""
    below, above, share = _places(np.arange(first, last), axis.inner, axis.full)
    start, end = axis.start + int(below[0]), axis.start + int(above[-1]) + 1  # of the fine pixels needed
    fine = _interpolated(cells, *_places(np.arange(start, end), axis.cells, axis.fine))
    return _interpolated(fine, below - below[0], above - below[0], share)


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
