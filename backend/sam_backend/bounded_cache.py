"""A cache with a maximum number of entries and a maximum total size, for keys that come from requests."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """Keep the most recently used entries, up to `max_entries` and `max_bytes`; threads may share it."""

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self._max_entries, self._max_bytes = max_entries, max_bytes
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._bytes_held = 0
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """Return the value of `key`; None if it is not in the cache."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def put(self, key: K, value: V, size: int) -> None:
        """Keep `value`, where key and value take `size` bytes; an entry above the limit of the cache is not kept."""
        with self._lock:
            self._remove(key)
            if size > self._max_bytes:
                return
            self._kept[key] = (value, size)
            self._bytes_held += size
            while len(self._kept) > self._max_entries or self._bytes_held > self._max_bytes:
                self._remove(next(iter(self._kept)))

    def newest(self) -> V | None:
        """Return the value that was used last; None if the cache is empty."""
        with self._lock:
            return next(reversed(self._kept.values()))[0] if self._kept else None

    def discard(self, key: K) -> None:
        """Remove the entry of `key`, if there is one."""
        with self._lock:
            self._remove(key)

    def _remove(self, key: K) -> None:
        _, size = self._kept.pop(key, (None, 0))
        self._bytes_held -= size

    def __contains__(self, key: K) -> bool:
        with self._lock:
            return key in self._kept

    def __len__(self) -> int:
        with self._lock:
            return len(self._kept)

    @property
    def bytes_held(self) -> int:
        """The sizes of all entries together."""
        with self._lock:
            return self._bytes_held
