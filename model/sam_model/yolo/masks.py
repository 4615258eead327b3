"""Masks of YOLO objects: linear combinations of the prototypes, at the image's resolution or at the network input's.

Source: YOLACT, arXiv:1904.02689, section 3.2 ("mask assembly", "cropping").
"""

import math
from collections.abc import Iterator

import numpy as np

from sam_model.masks.boxes import Boxes
from sam_model.masks.upscaling import Axis, Region, upscaled_part
from sam_model.types import Mask
from sam_model.yolo.decode import Objects
from sam_model.yolo.letterbox import Letterbox


def masks_of(objects: Objects, frame: Letterbox) -> Iterator[Mask]:
    """Yield the objects' masks (H, W) at the image's resolution, cropped to `objects.boxes`.

    These are the masks of Ultralytics 8.4 with `retina_masks=True`. The logits are interpolated in two steps: by 1, 2
    or 4, the smallest factor with which the grey borders of the input end between two pixels, and without the borders
    to the image.
    """
    height, width = frame.image_size
    for part, place in mask_parts_of(objects, frame):
        yield _whole(part, place, (height, width))


def mask_parts_of(objects: Objects, frame: Letterbox) -> Iterator[tuple[Mask, Region]]:
    """Yield the masks of `masks_of` in a region of the image outside of which they are False, and that region."""
    if objects.prototypes is None:
        return
    cells = objects.prototypes.shape[1:]
    rows, columns = _axes(cells, frame)
    yield from _parts(objects, objects.boxes, rows, columns)


def masks_in_input(objects: Objects, frame: Letterbox) -> Iterator[Mask]:
    """Yield the objects' masks (`frame.size`) at the resolution of the network's input, with its grey borders.

    These are the masks of Ultralytics 8.4 with `retina_masks=False`, its default. They are cropped to
    `objects.input_boxes`, which are not clipped to the image.
    """
    if objects.prototypes is None or objects.input_boxes is None:
        return
    rows, columns = (
        Axis(cells, cells, 0, cells, full) for cells, full in zip(objects.prototypes.shape[1:], frame.size, strict=True)
    )
    for part, place in _parts(objects, objects.input_boxes, rows, columns):
        yield _whole(part, place, frame.size)


def _whole(part: Mask, place: Region, size: tuple[int, int]) -> Mask:
    mask: Mask = np.zeros(size, dtype=bool)
    mask[place] = part
    return mask


def _parts(objects: Objects, boxes: Boxes, rows: Axis, columns: Axis) -> Iterator[tuple[Mask, Region]]:
    """Yield a mask and its region per box: the pixels of the box whose logit is above zero."""
    assert objects.coefficients is not None
    assert objects.prototypes is not None
    combinations = objects.coefficients @ objects.prototypes.reshape(len(objects.prototypes), -1)
    for combination, box in zip(combinations.reshape(-1, rows.cells, columns.cells), boxes, strict=True):
        x0, y0, x1, y1 = (max(0, math.ceil(edge)) for edge in box)  # the pixels from the first edge up to the second
        region = slice(y0, max(y0, min(y1, rows.full))), slice(x0, max(x0, min(x1, columns.full)))
        yield upscaled_part(combination, rows, columns, 0.0, region)


def _axes(cells: tuple[int, ...], frame: Letterbox) -> tuple[Axis, Axis]:
    """Return rows and columns from the prototypes to the image."""
    stride = frame.size[0] // cells[0]  # input pixels per cell
    starts = (frame.top, frame.left)
    borders = [full - inner for full, inner in zip(frame.size, frame.inner_size, strict=True)]
    coarse = math.gcd(stride, *starts, *borders)  # input pixels per fine pixel
    rows, columns = (
        Axis(count, count * stride // coarse, start // coarse, inner // coarse, full)
        for count, start, inner, full in zip(cells, starts, frame.inner_size, frame.image_size, strict=True)
    )
    return rows, columns
