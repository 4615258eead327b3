"""The memory that all decoding in this process may use at once."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from sam_model.images.errors import DecoderBusyError, ImageTooLargeError

MIB = 1 << 20


class MemoryBudget:
    """A semaphore counted in bytes; threads get their share in the order in which they asked."""

    def __init__(self, limit: int, wait_s: float = 30.0) -> None:
        """Allow `limit` bytes at once; a thread waits up to `wait_s` seconds for its share."""
        self._limit, self._wait_s = limit, wait_s
        self._used = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @property
    def limit(self) -> int:
        """Return the bytes that may be in use at once."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        with self._changed:
            self._limit = limit
            self._changed.notify_all()

    @property
    def waiting(self) -> int:
        """Return how many threads wait for their share."""
        with self._changed:
            return len(self._waiting)

    @contextmanager
    def reserve(self, size: int, what: str = "the image") -> Iterator[None]:
        """Hold `size` bytes of the budget; wait until they are free.

        Raises:
            ImageTooLargeError: `size` is more than the whole budget.
            DecoderBusyError: the bytes were not free in time.
        """
        if size > self._limit:
            raise ImageTooLargeError(
                f"decoding {what} needs about {-(-size // MIB)} MiB, more than the limit of {self._limit // MIB} MiB"
                " (SAM_DECODE_MEMORY_MIB)"
            )
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                is_free = self._changed.wait_for(
                    lambda: self._waiting[0] is ticket and self._used + size <= self._limit, self._wait_s
                )
                if not is_free:
                    raise DecoderBusyError(
                        f"decoding {what} was not started within {self._wait_s:g} s: other images use the"
                        f" {self._limit // MIB} MiB for decoding; try again later"
                    )
                self._used += size
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._used -= size
                self._changed.notify_all()


# One for the process, since its memory is one; `limit` is set from SAM_DECODE_MEMORY_MIB at the start of a service.
DECODING_MEMORY = MemoryBudget(1280 * MIB)
