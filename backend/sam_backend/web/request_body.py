"""A request's body in memory: received into the memory that the request's parser reads, and not copied on the way.

A click sends its task with all regions, often 10 MB of them. New memory for them costs more time than receiving them,
so the memory of one body is kept for the next one.
"""

import io
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

STEP = bytes(1 << 18)  # memory is added in such steps as bytes arrive
KEPT_BYTES = 32 << 20  # of memory, at most, for the next body


class BodyMemory:
    """The memory of the last large body. One thread, the event loop, uses it."""

    def __init__(self) -> None:
        self._kept: bytearray | None = None

    def take(self) -> bytearray:
        """Return memory whose content does not matter."""
        kept, self._kept = self._kept, None
        return bytearray() if kept is None else kept

    def give_back(self, memory: bytearray) -> None:
        """Keep memory, unless it is too large, smaller than what is kept, or somebody else still refers to it."""
        is_used = sys.getrefcount(memory) > 3  # the caller's variable, the parameter, getrefcount's argument
        kept = b"" if self._kept is None else self._kept
        if not is_used and len(kept) < len(memory) <= KEPT_BYTES:
            self._kept = memory


class RequestBody:
    """The part of a body that has been read; `check` is called with its size and the number of bytes just added."""

    def __init__(self, check: Callable[[int, int], None], memory: BodyMemory) -> None:
        self._check, self._memory = check, memory
        self._data = bytearray()
        self.size = 0
        self.is_complete = False

    def append(self, chunk: bytes) -> None:
        """Add bytes.

        Raises:
            Exception: any error of `check`.
        """
        del self._data[self.size :]
        self._data += chunk
        self.fill(len(chunk))

    def space(self, wanted: int) -> memoryview:
        """Return memory for up to `wanted` bytes; release it before anything else is called."""
        if self.size == len(self._data):
            memory = self._memory.take()
            if len(memory) > self.size:
                memory[: self.size] = self._data
                self._data = memory
            else:
                self._data += STEP
        return memoryview(self._data)[self.size : self.size + wanted]

    def fill(self, count: int) -> None:
        """Note that `count` bytes were written into `space`.

        Raises:
            Exception: any error of `check`.
        """
        self.size += count
        self._check(self.size, count)

    def data(self) -> bytearray:
        """Return the bytes themselves; nothing may be added afterwards."""
        del self._data[self.size :]
        return self._data

    def close(self) -> None:
        """Give the memory back; the body is not used any more."""
        data, self._data = self._data, bytearray()
        if len(data) > len(STEP):
            self._memory.give_back(data)


class BodyFile(io.RawIOBase):
    """A complete body as a file; `data` are its bytes."""

    def __init__(self, data: bytearray) -> None:
        super().__init__()
        self.data = data
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Copy the next bytes into `buffer` and return their number."""
        with memoryview(buffer).cast("B") as target:
            found = self.data[self._at : self._at + len(target)]
            target[: len(found)] = found
        self._at += len(found)
        return len(found)
