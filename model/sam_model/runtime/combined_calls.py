"""Calls of several threads that a GPU answers together: a batch of images takes less time than one after the other."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

IMAGES_PER_BATCH = 4  # on an NVIDIA GPU; chosen for its memory, not measured


def images_per_batch(device: str) -> int:
    """Return how many images a device such as `cuda:1` or `cpu` computes together; 1 where that gains nothing."""
    return IMAGES_PER_BATCH if device.startswith("cuda") else 1


class CombinedCalls(Generic[T, R]):
    """A function of one item for several threads; items that wait while it computes are in the next batch.

    No call waits for others to fill a batch.
    """

    def __init__(self, compute: Callable[[Sequence[T]], Sequence[R]], at_most: int) -> None:
        """Take the function of a batch, and the largest batch.

        Args:
            compute: returns a result per item, in their order; computes one batch at a time.
            at_most: items of a batch.
        """
        self._compute, self.at_most = compute, at_most
        self._waiting: deque[_Call[T, R]] = deque()
        self.computing = threading.Lock()  # held while a batch is computed

    @property
    def waiting(self) -> int:
        """The number of items that are in no batch yet."""
        return len(self._waiting)

    def __call__(self, item: T) -> R:
        """Return the result of an item.

        Raises:
            Exception: the error of the item. If a batch fails, each of its items is computed alone.
        """
        call: _Call[T, R] = _Call(item)
        self._waiting.append(call)
        with self.computing:
            while not call.is_done:
                self._compute_batch([self._waiting.popleft() for _ in range(min(self.at_most, len(self._waiting)))])
        if call.error is not None:
            raise call.error
        return call.results[0]

    def _compute_batch(self, calls: "list[_Call[T, R]]") -> None:
        try:
            results = self._compute([call.item for call in calls])
        except Exception as error:  # noqa: BLE001  # raised in the thread that made the call
            if len(calls) > 1:  # such as too little memory for a batch, or one image that cannot be computed
                for call in calls:
                    self._compute_batch([call])
                return
            calls[0].error = error
        else:
            for call, result in zip(calls, results, strict=True):
                call.results.append(result)


class _Call(Generic[T, R]):
    """An item, and its result or error once it is computed."""

    def __init__(self, item: T) -> None:
        self.item = item
        self.results: list[R] = []
        self.error: Exception | None = None

    @property
    def is_done(self) -> bool:
        return bool(self.results) or self.error is not None
