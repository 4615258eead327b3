"""Loaded models of the projects that were used last."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_LOADED = 4


class LoadedCache(Generic[T]):
    """Load each value once, in a thread, and keep the ones used last; threads may share it."""

    def __init__(self, max_loaded: int = MAX_LOADED) -> None:
        self._max_loaded = max_loaded
        self._futures: OrderedDict[Hashable, Future[T]] = OrderedDict()
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Give up all values; those that are being loaded are not kept."""
        with self._lock:
            self._futures.clear()

    def get(self, key: Hashable, load: Callable[[], T]) -> "Future[T]":
        """Return the value of `key`; if it is not there or failed to load, start `load`."""
        with self._lock:
            known = self._futures.get(key)
            if known is not None and not (known.done() and known.exception() is not None):
                self._futures.move_to_end(key)
                return known
            future: Future[T] = Future()
            self._futures[key] = future
            self._futures.move_to_end(key)
            while len(self._futures) > self._max_loaded:
                self._futures.popitem(last=False)

        def run() -> None:
            try:
                future.set_result(load())
            except Exception as error:  # noqa: BLE001  # the edge of a thread: `future.result` raises it
                future.set_exception(error)

        threading.Thread(target=run, name="load-models", daemon=True).start()
        return future
