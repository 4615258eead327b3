"""Masks of results. They are kept as run lengths until `data` is read: 100 masks of 12 megapixels take 1.2 GB."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree
from torch import Tensor

from sam_model.masks.coco_rle import RunLengths, run_lengths_from_mask
from sam_model.scripting.tensors import Array, Index, ResultTensor, chosen_rows
from sam_model.types import Mask
from sam_model.yolo.letterbox import Letterbox, letterbox_of_size

Segment = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class EncodedMasks:
    """N masks of `size` (height, width) as run lengths, and the type of the tensor that they become."""

    run_lengths: tuple[RunLengths, ...]
    size: tuple[int, int]
    dtype: torch.dtype = torch.bool

    def decode(self) -> Tensor:
        """Return the masks as a tensor (N, H, W)."""
        masks = torch.zeros((len(self.run_lengths), *self.size), dtype=self.dtype)
        for mask, lengths in zip(masks, self.run_lengths, strict=True):
            mask.copy_(torch.from_numpy(lengths.mask))
        return masks


class Masks(ResultTensor):
    """N masks. `data` is (N, h, w): at the image's size, or at the size of the network's input with its borders."""

    def __init__(self, masks: Array | EncodedMasks, orig_shape: tuple[int, int]) -> None:
        """Take masks (N, h, w), a single one (h, w), or run lengths that become a tensor when `data` is read."""
        self._encoded = masks if isinstance(masks, EncodedMasks) else None
        self.orig_shape = orig_shape
        if not isinstance(masks, EncodedMasks):
            super().__init__(masks[None] if masks.ndim == 2 else masks, orig_shape)

    @property
    def data(self) -> Any:
        """The masks (N, h, w), a tensor or an array. They are decoded at the first access."""
        if not hasattr(self, "_data"):
            assert self._encoded is not None
            self._data = self._encoded.decode()
        return self._data

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape (N, h, w)."""
        return tuple(self._data.shape) if self._encoded is None else (len(self), *self._encoded.size)

    def __len__(self) -> int:
        return len(self._data) if self._encoded is None else len(self._encoded.run_lengths)

    def __getitem__(self, index: Index) -> Self:
        if self._encoded is None:
            return super().__getitem__(index)
        rows = chosen_rows(index, len(self))
        run_lengths = tuple(self._encoded.run_lengths[row] for row in rows)
        return type(self)(EncodedMasks(run_lengths, self._encoded.size, self._encoded.dtype), self.orig_shape)

    def cpu(self) -> Self:
        """Return a copy in main memory; run lengths and arrays are there already."""
        return self if self._encoded is not None else super().cpu()

    @property
    def xy(self) -> list[Segment]:
        """The outline of each mask, (K, 2) in pixels of the image; (0, 2) of an empty mask.

        A mask of several parts has one outline: a line leads from part to part and back. Holes are left out.
        """
        return [segment.copy() for segment in self._segments]

    @property
    def xyn(self) -> list[Segment]:
        """The outlines as shares of the image's width and height, 0..1."""
        height, width = self.orig_shape
        sides = np.array([width, height], np.float32)
        return [(segment / sides).astype(np.float32, copy=False) for segment in self._segments]

    @cached_property
    def _segments(self) -> list[Segment]:
        height, width = self.orig_shape
        frame = letterbox_of_size(self.orig_shape, (self.shape[1], self.shape[2]))
        corner = np.array([frame.left, frame.top], np.float32)
        scale = np.array([frame.inner_size[1] / width, frame.inner_size[0] / height], np.float32)
        limit = np.array([width, height], np.float32)
        outlines = (np.clip((outline_of(mask) - corner) / scale, 0, limit) for mask in self._each())
        return [outline.astype(np.float32, copy=False) for outline in outlines]

    @cached_property
    def run_lengths(self) -> tuple[RunLengths, ...]:
        """The masks as run lengths at the size of the image."""
        if self._encoded is not None and self._encoded.size == tuple(self.orig_shape):
            return self._encoded.run_lengths
        frame = letterbox_of_size(self.orig_shape, (self.shape[1], self.shape[2]))
        return tuple(run_lengths_from_mask(_without_borders(mask, frame)) for mask in self._each())

    def _each(self) -> Iterator[Mask]:
        """Yield the masks (h, w) one by one, without decoding all of them at once."""
        if self._encoded is not None:
            return (lengths.mask for lengths in self._encoded.run_lengths)
        masks = torch.as_tensor(self._data).cpu().numpy()
        return (np.ascontiguousarray(mask, dtype=bool) for mask in masks)


def outline_of(mask: Mask) -> Segment:
    """Return the outline (K, 2) through the border pixels of all parts of a mask; (0, 2) of an empty mask.

    The parts are joined at their nearest pixels.
    """
    found, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    parts = [part.reshape(-1, 2).astype(np.float32) for part in found]
    if not parts:
        return np.zeros((0, 2), np.float32)
    others = sorted(parts, key=lambda part: -cv2.contourArea(part))
    outline: Segment = others.pop(0)
    for part in others:
        distances, nearest = KDTree(outline).query(part)
        start = int(distances.argmin())
        end = int(nearest[start])
        detour = np.roll(part, -start, axis=0)
        outline = np.concatenate([outline[: end + 1], detour, detour[:1], outline[end:]])
    return outline


def _without_borders(mask: Mask, frame: Letterbox) -> Mask:
    """Return a mask of the network's input at the size of the image."""
    (height, width), (inner_height, inner_width) = frame.image_size, frame.inner_size
    inner = mask[frame.top : frame.top + inner_height, frame.left : frame.left + inner_width].astype(np.float32)
    scaled: Mask = np.asarray(cv2.resize(inner, (width, height), interpolation=cv2.INTER_LINEAR) > 0.5)
    return scaled
