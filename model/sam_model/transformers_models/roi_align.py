"""Averages of a map within boxes, as torchvision.ops.roi_align computes them with its default arguments.

Source: Mask R-CNN, arXiv:1703.06870, section 3; torchvision/csrc/ops/cpu/roi_align_kernel.cpp (BSD-3-Clause).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def roi_align(maps: Tensor, boxes: Sequence[Tensor], output_size: int) -> Tensor:
    """Return the averages of maps (B, C, H, W) in a grid of each box, (N, C, output_size, output_size).

    Args:
        maps: one per image.
        boxes: (N_b, 4) per image, corners in cells of the map.
        output_size: cells of the grid per side.
    """
    found = [_averages(one, box, output_size) for one, several in zip(maps, boxes, strict=True) for box in several]
    return torch.stack(found) if found else maps.new_zeros(0, maps.shape[1], output_size, output_size)


def _averages(x: Tensor, box: Tensor, cells: int) -> Tensor:
    """Return the averages of a map (C, H, W) in cells of a box (4,), (C, cells, cells)."""
    height, width = x.shape[1:]
    x_min, y_min, x_max, y_max = (float(edge) for edge in box)
    columns = _interpolation(x_min, max(x_max - x_min, 1.0), width, cells).to(x)
    rows = _interpolation(y_min, max(y_max - y_min, 1.0), height, cells).to(x)
    return rows @ x @ columns.T


def _interpolation(start: float, length: float, size: int, cells: int) -> Tensor:
    """Return the weights (cells, size) of a line's pixels in the averages of the cells of an interval."""
    samples = max(math.ceil(length / cells), 1)  # per cell
    places = start + (torch.arange(cells * samples, dtype=torch.float64) + 0.5) * length / (cells * samples)
    is_inside = (places >= -1) & (places <= size)
    places = places.clamp(0, size - 1)
    before = places.floor().long()
    weights = torch.zeros(cells * samples, size, dtype=torch.float64)
    weights.scatter_add_(1, before[:, None], (1 - places + before)[:, None])
    weights.scatter_add_(1, (before + 1).clamp(max=size - 1)[:, None], (places - before)[:, None])
    return (weights * is_inside[:, None]).view(cells, samples, size).mean(1)
