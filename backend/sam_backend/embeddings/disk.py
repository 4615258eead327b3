"""Embeddings in a folder: what was embedded before a restart need not be embedded again. Bounded by bytes.

A file's name comes from the image's bytes and the model, not from the image's address: what lies at an address may
change, and a mask of another image is worse than none. SAM's embeddings only; the other models look at an image again
in less time than it takes to keep what they saw.
"""

import hashlib
import logging
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from sam_model.interfaces import Embedding

logger = logging.getLogger(__name__)

SUFFIX = ".embedding"
UNFINISHED = ".part"  # a file that is being written, under the lock of the folder
LOCK = "lock"
LOCK_WAIT_S = 2.0
LOCK_POLL_S = 0.01
ROOM_MADE = 0.9  # of the bytes allowed are left after the oldest were removed


class EmbeddingFolder:
    """A folder that several processes may share; whatever goes wrong with it costs time, never an answer."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._problem: str | None = None  # the one that the log names already
        self._lock = threading.Lock()

    def read(self, image: str, fingerprint: str) -> Embedding | None:
        """The embedding of the image of that SHA-256 by the model of that fingerprint; None without a good one."""
        from sam_model.sam.embedding_bytes import MAX_BYTES, embedding_from_bytes

        path = self._path(image, fingerprint)
        try:
            data = _content(path, MAX_BYTES)
        except OSError:
            return None
        try:
            embedding = embedding_from_bytes(data, image, fingerprint)
        except ValueError as error:
            logger.warning("%s is removed, and its image is embedded again: %s", path.name, error)
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):
            os.utime(path)  # it was used now
        return embedding

    def write(self, image: str, embedding: Embedding) -> None:
        """Keep the embedding of the image of that SHA-256, if it is SAM's; the files used longest ago make room."""
        from sam_model.sam.embedding_bytes import embedding_to_bytes
        from sam_model.sam.segmenter import SamEmbedding

        if not isinstance(embedding, SamEmbedding) or embedding.nbytes > self._max_bytes:
            return
        data = embedding_to_bytes(embedding, image)
        if len(data) > self._max_bytes:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with _locked(self._folder / LOCK):
                self._make_room(len(data))
                self._write(self._path(image, embedding.fingerprint), data)
        except OSError as error:
            self._tell(f"{error.strerror or error}")
        else:
            self._tell(None)

    def _write(self, path: Path, data: bytes) -> None:
        unfinished = path.with_suffix(UNFINISHED)
        try:
            unfinished.write_bytes(data)
            unfinished.replace(path)
        except OSError:
            with suppress(OSError):
                unfinished.unlink()
            raise

    def _make_room(self, added: int) -> None:
        """Remove what was left unfinished, and the files used longest ago as far as `added` bytes need their place."""
        kept: list[tuple[int, int, Path]] = []
        for entry in os.scandir(self._folder):
            with suppress(FileNotFoundError):  # another process found it broken
                if entry.name.endswith(UNFINISHED):
                    Path(entry.path).unlink()  # its writer died: all who write hold the lock
                elif entry.name.endswith(SUFFIX):
                    found = entry.stat(follow_symlinks=False)
                    kept.append((found.st_mtime_ns, found.st_size, Path(entry.path)))
        held = sum(size for _, size, _ in kept)
        if held + added <= self._max_bytes:
            return
        for _, size, path in sorted(kept):
            if held + added <= ROOM_MADE * self._max_bytes:
                break
            path.unlink(missing_ok=True)
            held -= size

    def _tell(self, problem: str | None) -> None:
        with self._lock:
            if problem == self._problem:
                return
            self._problem = problem
        if problem is None:
            logger.info("embeddings are kept in SAM_EMBEDDINGS_DIR again")
        else:
            logger.warning(
                "embeddings cannot be kept in SAM_EMBEDDINGS_DIR: %s; masks are computed without the folder", problem
            )

    def _path(self, image: str, fingerprint: str) -> Path:
        of_model = hashlib.sha256(fingerprint.encode()).hexdigest()[:12]
        return self._folder / f"{image}-{of_model}{SUFFIX}"


def _content(path: Path, at_most: int) -> bytes:
    """The bytes of a regular file; none of one with more than `at_most`.

    Raises:
        OSError: it is not there, no regular file, or cannot be read.
    """
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):  # a named pipe would be waited for
        raise OSError("not a regular file")
    return path.read_bytes() if found.st_size <= at_most else b""


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` against other threads and processes.

    Raises:
        OSError: the file cannot be locked, or another process holds the lock for longer than `LOCK_WAIT_S`.
    """
    try:
        lock = FileLock(path, timeout=LOCK_WAIT_S, poll_interval=LOCK_POLL_S).acquire()
    except Timeout:
        raise TimeoutError("another process holds the folder's lock") from None
    except NotImplementedError:
        raise OSError("its file system has no file locks") from None
    with lock:
        yield
