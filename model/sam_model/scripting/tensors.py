"""Tensors of results, with the size of the image that they belong to."""

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = Tensor | NDArray[Any]
Index = Any  # an int, a slice, or an array or tensor of ints or bools


class ResultTensor:
    """A tensor or array `data` with one row per object, and the (height, width) of the image."""

    def __init__(self, data: Array, orig_shape: tuple[int, int]) -> None:
        """Take the values as they are, without copying them.

        Raises:
            TypeError: `data` is neither a tensor nor an array.
        """
        if not isinstance(data, Tensor | np.ndarray):
            raise TypeError(f"data is a {type(data).__name__}; needed: a tensor or an array")
        self._data = data
        self.orig_shape = orig_shape

    @property
    def data(self) -> Any:
        """The values, a tensor or an array."""
        return self._data

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the values."""
        return tuple(self.data.shape)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: Index) -> Self:
        return type(self)(self.data[index], self.orig_shape)

    def cpu(self) -> Self:
        """Return a copy in main memory; arrays are there already."""
        return self if isinstance(self.data, np.ndarray) else type(self)(self.data.cpu(), self.orig_shape)

    def numpy(self) -> Self:
        """Return a copy whose values are an array."""
        return self if isinstance(self.data, np.ndarray) else type(self)(self.data.cpu().numpy(), self.orig_shape)

    def cuda(self) -> Self:
        """Return a copy on the CUDA device."""
        return self.to("cuda")

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Return a copy on another device or of another type, as `torch.Tensor.to`."""
        return type(self)(torch.as_tensor(self.data).to(*args, **kwargs), self.orig_shape)


def chosen_rows(index: Index, count: int) -> NDArray[np.intp]:
    """Return the numbers (K,) of the rows that an index chooses from `count` rows.

    Raises:
        IndexError: the index is out of range.
    """
    if isinstance(index, Tensor):
        index = index.cpu().numpy()
    rows: NDArray[np.intp] = np.atleast_1d(np.arange(count)[index])
    return rows
