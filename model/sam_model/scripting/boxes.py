"""Boxes of results: corners, centre and size, score and class of each object."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sam_model.scripting.tensors import Array, ResultTensor


class Boxes(ResultTensor):
    """N boxes. `data` is (N, 6): x_min, y_min, x_max, y_max, score, class; (N, 7) has a track id before the score."""

    def __init__(self, boxes: Array, orig_shape: tuple[int, int]) -> None:
        """Take boxes (N, 6) or (N, 7), or a single one.

        Raises:
            ValueError: the rows have another length.
        """
        if boxes.ndim == 1:
            boxes = boxes[None]
        if boxes.shape[-1] not in (6, 7):
            raise ValueError(f"boxes of shape {tuple(boxes.shape)}; needed: (N, 6), or (N, 7) with track ids")
        super().__init__(boxes, orig_shape)
        self.is_track = boxes.shape[-1] == 7

    @property
    def xyxy(self) -> Any:
        """Corners (N, 4) in pixels: x_min, y_min, x_max, y_max."""
        return self.data[:, :4]

    @property
    def conf(self) -> Any:
        """Scores (N,)."""
        return self.data[:, -2]

    @property
    def cls(self) -> Any:
        """Class ids (N,), as floating-point numbers."""
        return self.data[:, -1]

    @property
    def id(self) -> Any:
        """Track ids (N,); None if there are none."""
        return self.data[:, -3] if self.is_track else None

    @property
    def xywh(self) -> Any:
        """Centre and size (N, 4) in pixels: x, y, width, height."""
        corners = self.xyxy
        low, high = corners[:, :2], corners[:, 2:]
        return _joined((low + high) / 2, high - low)

    @property
    def xyxyn(self) -> Any:
        """Corners (N, 4) as shares of the image's width and height, 0..1."""
        return self._shares(self.xyxy)

    @property
    def xywhn(self) -> Any:
        """Centre and size (N, 4) as shares of the image's width and height, 0..1."""
        return self._shares(self.xywh)

    def _shares(self, values: Any) -> Any:
        height, width = self.orig_shape
        sides = [width, height] * 2
        return values / (values.new_tensor(sides) if isinstance(values, Tensor) else np.array(sides, values.dtype))


def _joined(left: Any, right: Any) -> Any:
    if isinstance(left, Tensor):
        return torch.cat([left, right], dim=1)
    return np.concatenate([left, right], axis=1)
