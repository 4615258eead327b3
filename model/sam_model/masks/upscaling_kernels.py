"""Compiled loops of `upscaling`. Importing this file compiles them, or reads them from Numba's cache.

Most pixels of a mask are far from its border. If all logits around a part of the image are above the threshold, all
pixels of this part are; if none is, none of the pixels is. So only the parts at the border are interpolated.
"""

from typing import Any

import numpy as np

from sam_model.runtime.loop_compiler import compiled

TILE = 128  # pixels of a row that are interpolated together: they stay in the processor's cache
CELLS = 3  # next to each other: from those a pixel is interpolated along an axis


@compiled("void(float32[::1], uint32[::1], float32[:, :], float32[::1])")
def stretch(cells: Any, first: Any, weights: Any, pixels: Any) -> None:
    """Interpolate the pixels (N,) of a row of cells, by each pixel's first cell (N,) and its weights (3, N)."""
    for x in range(pixels.size):
        left, middle, right = cells[first[x]], cells[first[x] + np.uint32(1)], cells[first[x] + np.uint32(2)]
        pixels[x] = weights[0, x] * left + weights[1, x] * middle + weights[2, x] * right


@compiled("void(float32[::1], float32[::1], float32[::1], float32[:], float32, boolean[:])")
def mark_row(above: Any, here: Any, below: Any, weights: Any, threshold: float, mask: Any) -> None:
    """Set `mask` (N,) to whether the pixels between three rows (N,), by their weights (3,), are above a threshold."""
    a, b, c = weights[0], weights[1], weights[2]
    for x in range(mask.size):
        mask[x] = a * above[x] + b * here[x] + c * below[x] > threshold


@compiled("int64(float32[::1], float32[::1], float32[::1], float32[:], float32)")
def count_row(above: Any, here: Any, below: Any, weights: Any, threshold: float) -> int:
    """Return how many of the pixels that `mark_row` compares are above a threshold."""
    a, b, c = weights[0], weights[1], weights[2]
    count = np.int32(0)
    for x in range(above.size):
        count += np.int32(a * above[x] + b * here[x] + c * below[x] > threshold)
    return int(count)


@compiled(
    "Tuple((int64, int64))(float32[:, ::1], uint32[::1], float32[:, :], uint32[::1], float32[:, :],"
    " float32, float32, float32, boolean[:, :])"
)
def mark_above(
    cells: Any,
    row_first: Any,
    row_weights: Any,
    column_first: Any,
    column_weights: Any,
    low: float,
    threshold: float,
    high: float,
    mask: Any,
) -> tuple[int, int]:
    """Interpolate the pixels (h, w) of `cells`, and set those of `mask` that are above the threshold.

    Return the number of pixels above `low` and above `high`; they are not counted if `low` is `high`.

    Args:
        cells: logits of three rows and columns or more.
        row_first: (h,), the first of the three rows of cells that a row is interpolated from.
        row_weights: (3, h), of these rows.
        column_first: (w,), the same for columns.
        column_weights: (3, w).
        low: at most the threshold.
        threshold: for the mask.
        high: at least the threshold.
        mask: (h, w), all False.
    """
    height, width = mask.shape
    n_columns = cells.shape[1]
    n_tiles = (width + TILE - 1) // TILE
    some = np.zeros(n_columns + 1, np.int32)  # columns before this one with a logit above `low`
    full = np.zeros(n_columns + 1, np.int32)  # columns before this one with all logits above `high`
    stretched = np.empty((CELLS, width), np.float32)  # rows of cells, row n at n % 3
    held = np.full((CELLS, n_tiles), -1, np.int64)  # which row of cells is stretched there
    n_low, n_high = 0, 0
    top = 0
    while top < height:
        first = np.int64(row_first[top])
        bottom = top + 1
        while bottom < height and row_first[bottom] == first:
            bottom += 1
        for x in range(n_columns):
            a, b, c = cells[first, x], cells[first + 1, x], cells[first + 2, x]
            some[x + 1] = some[x] + np.int32((a > low) | (b > low) | (c > low))
            full[x + 1] = full[x] + np.int32((a > high) & (b > high) & (c > high))

        begin = 0  # of the tiles whose pixels are all above `high`
        for tile in range(n_tiles + 1):
            left, right = min(tile * TILE, width), min((tile + 1) * TILE, width)
            is_mixed = False
            if left < right:
                since, until = np.int64(column_first[left]), np.int64(column_first[right - 1]) + CELLS
                if full[until] - full[since] == until - since:
                    continue
                is_mixed = some[until] > some[since]
            for y in range(top, bottom):
                mask[y, begin:left] = True
            n_low += (left - begin) * (bottom - top)
            n_high += (left - begin) * (bottom - top)
            begin = right
            if not is_mixed:
                continue
            for row in range(first, first + CELLS):
                if held[row % CELLS, tile] != row:
                    held[row % CELLS, tile] = row
                    stretch(
                        cells[row],
                        column_first[left:right],
                        column_weights[:, left:right],
                        stretched[row % CELLS, left:right],
                    )
            above = stretched[first % CELLS, left:right]
            here = stretched[(first + 1) % CELLS, left:right]
            below = stretched[(first + 2) % CELLS, left:right]
            for y in range(top, bottom):
                mark_row(above, here, below, row_weights[:, y], threshold, mask[y, left:right])
                if low < high:
                    n_low += count_row(above, here, below, row_weights[:, y], low)
                    n_high += count_row(above, here, below, row_weights[:, y], high)
        top = bottom
    return n_low, n_high
