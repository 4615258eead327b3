"""A bounded pool of threads for one kind of requests, such as clicks."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

_thread = threading.local()


class PoolFullError(Exception):
    """The pool is full."""


class _Slots:
    """A semaphore that counts the acquired slots."""

    def __init__(self, count: int) -> None:
        self._free = threading.Semaphore(count)
        self._lock = threading.Lock()
        self.taken = 0

    def acquire(self) -> None:
        self._free.acquire()
        with self._lock:
            self.taken += 1

    def release(self) -> None:
        with self._lock:
            self.taken -= 1
        self._free.release()


class RequestPool:
    """Run up to `threads` requests at the same time and let up to `waiting` more wait.

    A request inside `slot_released()` does not count as running, so requests that wait for a slow image server do not
    stop the others. Threads start with the first requests, so a process may fork before.
    """

    def __init__(self, name: str, threads: int, waiting: int) -> None:
        self.name = name
        self.capacity = threads + waiting
        self._slots = _Slots(threads)
        self._executor = ThreadPoolExecutor(self.capacity, thread_name_prefix=name)
        self._admitted = 0
        self._lock = threading.Lock()

    @property
    def admitted(self) -> int:
        """Requests in the pool, running or waiting."""
        return self._admitted

    @property
    def running(self) -> int:
        """Running requests, without those that wait inside `slot_released()`."""
        return self._slots.taken

    @property
    def is_full(self) -> bool:
        """Return whether `submit` would refuse a request."""
        return self._admitted >= self.capacity

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Run `call` in a thread of the pool.

        Raises:
            PoolFullError: the pool already holds `capacity` requests.
        """
        with self._lock:
            if self.is_full:
                raise PoolFullError(f"{self._admitted} requests are running or waiting")
            self._admitted += 1
        future = self._executor.submit(self._run, call)
        future.add_done_callback(self._leave)
        return future

    def _run(self, call: Callable[[], T]) -> T:
        self._slots.acquire()
        _thread.slots = self._slots
        try:
            return call()
        finally:
            _thread.slots = None
            self._slots.release()

    def _leave(self, _: Future[T]) -> None:
        with self._lock:
            self._admitted -= 1


@contextmanager
def slot_released() -> Iterator[None]:
    """Let another request of the pool run while this thread waits, for example for an image or a model.

    Outside a pool's thread this does nothing.
    """
    slots: _Slots | None = getattr(_thread, "slots", None)
    if slots is None:
        yield
        return
    slots.release()
    try:
        yield
    finally:
        slots.acquire()
