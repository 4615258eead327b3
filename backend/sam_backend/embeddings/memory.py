"""Embeddings in memory, bounded by bytes; one computation per image, however many threads ask at the same time.

The bound includes what the prompts of an image share, which a segmenter adds to an embedding later and computes in a
twentieth of the embedding's time. It has a limit of its own, so that it does not replace embeddings.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from sam_backend.request_pool import slot_released
from sam_model.interfaces import Embedding, PreparedEmbedding

SHARED_PART = 0.125  # of the memory, at most, for what prompts share; but the image that was used last keeps it

E = TypeVar("E", bound=Embedding)


@dataclass(frozen=True)
class CacheStatistics:
    """Hits, misses and size of the cache since the start."""

    hits: int
    misses: int
    entries: int
    bytes_held: int
    bytes_allowed: int


class EmbeddingCache(Generic[E]):
    """Keeps the most recently used embeddings, up to `max_bytes`; does not keep an embedding that is larger.

    A computation that fails is not remembered: the threads that wait for it get its error, later ones compute again.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, E] = OrderedDict()  # the least recently used first
        self._prepared: OrderedDict[str, PreparedEmbedding] = OrderedDict()  # those of them that hold shared work
        self._bytes_held = 0  # without shared work
        self._computing: dict[str, Future[E]] = {}
        self._hits = 0
        self._misses = 0
        self._lock = threading.Lock()

    def get(self, key: str) -> E | None:
        """Return the embedding of `key`, after waiting for it if it is being computed; None if there is none.

        Raises:
            Exception: any error of the computation.
        """
        with self._lock:
            embedding = self._kept.get(key)
            future = self._computing.get(key)
            if embedding is not None:
                self._use(key)
            self._hits += embedding is not None or future is not None
        return future.result() if future is not None else embedding

    def get_or_compute(self, key: str, compute: Callable[[], E]) -> tuple[E, bool]:
        """Return the embedding of `key`, and whether it was in memory or being computed already.

        Raises:
            Exception: any error of `compute`.
        """
        with self._lock:
            if key in self._kept:
                self._use(key)
                self._hits += 1
                return self._kept[key], True
            future = self._computing.get(key)
            if future is None:
                self._misses += 1
                own_future: Future[E] = Future()
                self._computing[key] = own_future
            else:
                self._hits += 1
        if future is not None:
            with slot_released():
                return future.result(), True
        return self._compute(key, compute, own_future), False

    def _compute(self, key: str, compute: Callable[[], E], future: Future[E]) -> E:
        try:
            embedding = compute()
        except BaseException as error:
            with self._lock:
                del self._computing[key]
            future.set_exception(error)
            raise
        with self._lock:
            del self._computing[key]
            self._keep(key, embedding)
        future.set_result(embedding)
        return embedding

    def _keep(self, key: str, embedding: E) -> None:
        if embedding.nbytes > self._max_bytes:
            return
        self._kept[key] = embedding
        self._bytes_held += embedding.nbytes
        kept: object = embedding
        if isinstance(kept, PreparedEmbedding):
            self._prepared[key] = kept
        self._fit()

    def _use(self, key: str) -> None:
        self._kept.move_to_end(key)
        if key in self._prepared:
            self._prepared.move_to_end(key)
            self._fit()  # a prompt has added to an embedding since

    def fit(self) -> None:
        """Free memory above the bound, after a segmenter has added to an embedding; each use does it as well."""
        with self._lock:
            self._fit()

    def _fit(self) -> None:
        shared = self._shared_bytes()
        newest = next(reversed(self._kept), None)
        for key, prepared in self._prepared.items():
            limit = self._max_bytes - self._bytes_held if key == newest else SHARED_PART * self._max_bytes
            if shared <= limit:
                break
            shared -= prepared.shared_nbytes
            prepared.drop_shared()
        while self._bytes_held + shared > self._max_bytes:
            key, oldest = self._kept.popitem(last=False)
            self._bytes_held -= oldest.nbytes
            self._prepared.pop(key, None)
            shared = self._shared_bytes()

    def _shared_bytes(self) -> int:
        return sum(prepared.shared_nbytes for prepared in self._prepared.values())

    def peek(self, key: str) -> E | None:
        """Return the embedding of `key` if it is in memory; this does not count as a use."""
        with self._lock:
            return self._kept.get(key)

    def __contains__(self, key: str) -> bool:
        with self._lock:
            return key in self._kept or key in self._computing

    def statistics(self) -> CacheStatistics:
        """Return the current counts."""
        with self._lock:
            held = self._bytes_held + self._shared_bytes()
            return CacheStatistics(self._hits, self._misses, len(self._kept), held, self._max_bytes)
