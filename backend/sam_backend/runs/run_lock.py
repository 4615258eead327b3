"""Lock file of a run: one process works on a run at a time; the operating system unlocks it when that process ends.

`docs/decisions/file-locks.md` says why this is not filelock.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked_file(lock: Path) -> Iterator[None]:
    """Lock a file, which is created if missing, until the end of the block.

    Raises:
        BlockingIOError: another process holds the lock.
        OSError: the file cannot be opened for writing.
    """
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def is_locked(lock: Path) -> bool:
    """Return whether a process holds the lock, without creating or writing the file."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: several readers do not block each other
    except BlockingIOError:
        return True
    except OSError:  # the file is missing or cannot be read
        return False
    return False
