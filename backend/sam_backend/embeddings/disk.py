"""Embeddings in a folder, bounded by bytes: after a restart, and in other processes, images need not be embedded again.

A file's name is made of the SHA-256 of the image's bytes and of the model's fingerprint, never of the image's URL: the
file behind a URL may change, and the mask of another image is worse than no mask. Only SAM's embeddings are stored;
the other models compute theirs in less time than reading a file takes.
"""

import hashlib
import logging
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from sam_backend.settings import MIB, Settings
from sam_model.interfaces import Embedding

logger = logging.getLogger(__name__)

SUFFIX = ".embedding"
UNFINISHED_SUFFIX = ".part"  # a file that is being written; its writer holds the folder's lock
LOCK = "lock"
BYTES_HELD = "bytes_held"  # a file with the size of all embeddings, or more; it saves counting them for each write
LOCK_WAIT_S = 2.0
LOCK_POLL_S = 0.01
SHARE_KEPT = 0.9  # of `max_bytes`, after old files were removed


@dataclass(frozen=True)
class FolderStatistics:
    """Number and size of the embeddings in a folder, and its limit."""

    files: int
    bytes_held: int
    bytes_allowed: int


class EmbeddingFolder:
    """A folder of embeddings that threads and processes may share. Errors of the folder are logged, not raised."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._problem: str | None = None  # the last one that was logged
        self._has_counted = False  # since this process started: the files may have been changed before
        self._lock = threading.Lock()

    def read(self, image_digest: str, fingerprint: str) -> Embedding | None:
        """Return the embedding of an image by a model; None if there is no valid one.

        Args:
            image_digest: SHA-256 of the image file's bytes, in hexadecimal.
            fingerprint: of the model.
        """
        from sam_model.sam.embedding_bytes import MAX_BYTES, embedding_from_bytes

        path = self._path(image_digest, fingerprint)
        try:
            data = _content(path, MAX_BYTES)
        except OSError:
            return None
        try:
            embedding = embedding_from_bytes(data, image_digest, fingerprint)
        except ValueError as error:
            logger.warning("could not read %s: %s; removing it, its image is embedded again", path.name, error)
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):
            os.utime(path)  # the modification time is the time of the last use
        return embedding

    def refresh(self, image_digest: str, fingerprint: str) -> bool:
        """Return whether the folder has an embedding, and note that it was used now; the file is not read."""
        try:
            os.utime(self._path(image_digest, fingerprint))
        except OSError:
            return False
        return True

    def statistics(self) -> FolderStatistics:
        """Count the embeddings.

        Raises:
            OSError: the folder cannot be read.
        """
        sizes = [size for _, size, _ in self._files()]
        return FolderStatistics(len(sizes), sum(sizes), self._max_bytes)

    def clear(self) -> int:
        """Remove all embeddings and return their number.

        Raises:
            OSError: the folder cannot be changed, or another process holds its lock.
        """
        if not self._folder.is_dir():
            return 0
        with _locked(self._folder / LOCK):
            files = self._files()
            for _, _, path in files:
                path.unlink(missing_ok=True)
            (self._folder / BYTES_HELD).unlink(missing_ok=True)
        return len(files)

    def write(self, image_digest: str, embedding: Embedding) -> None:
        """Store the embedding of an image if it is SAM's; remove the least recently used files to make space."""
        from sam_model.sam.embedding_bytes import embedding_to_bytes
        from sam_model.sam.segmenter import SamEmbedding

        if not isinstance(embedding, SamEmbedding) or embedding.nbytes > self._max_bytes:
            return
        data = embedding_to_bytes(embedding, image_digest)
        if len(data) > self._max_bytes:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with _locked(self._folder / LOCK):
                held = self._bytes_held()
                if held is None or held + len(data) > self._max_bytes:
                    held = self._remove_old_files(len(data))
                # before the file is written: a writer that is killed leaves a sum that is too large, not too small
                (self._folder / BYTES_HELD).write_text(f"{held + len(data)}\n")
                self._write(self._path(image_digest, embedding.fingerprint), data)
        except OSError as error:
            self._log_problem(f"{error.strerror or error}")
        else:
            self._log_problem(None)

    def _write(self, path: Path, data: bytes) -> None:
        unfinished = path.with_suffix(UNFINISHED_SUFFIX)
        try:
            unfinished.write_bytes(data)
            unfinished.replace(path)
        except OSError:
            with suppress(OSError):
                unfinished.unlink()
            raise

    def _bytes_held(self) -> int | None:
        """Return the noted size of all embeddings; None if they must be counted."""
        try:
            noted = (self._folder / BYTES_HELD).read_text()
        except (OSError, UnicodeDecodeError):
            return None
        is_whole = noted.endswith("\n") and noted[:-1].isdecimal()
        return int(noted) if self._has_counted and is_whole else None

    def _remove_old_files(self, added: int) -> int:
        """Remove unfinished files, and the least recently used ones if `added` bytes exceed the limit.

        Returns the size of the files that are left.
        """
        for unfinished in self._folder.glob(f"*{UNFINISHED_SUFFIX}"):
            unfinished.unlink(missing_ok=True)  # its writer was killed: all writers hold the lock
        files = self._files()
        self._has_counted = True
        held = sum(size for _, size, _ in files)
        if held + added <= self._max_bytes:
            return held
        for _, size, path in sorted(files):
            if held + added <= SHARE_KEPT * self._max_bytes:
                break
            path.unlink(missing_ok=True)
            held -= size
        return held

    def _files(self) -> list[tuple[int, int, Path]]:
        """Return time of last use, size and path of each embedding; none if the folder does not exist."""
        files: list[tuple[int, int, Path]] = []
        if not self._folder.is_dir():
            return files
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.endswith(SUFFIX):
                    with suppress(FileNotFoundError):  # a reader found it damaged and removed it
                        found = entry.stat(follow_symlinks=False)
                        files.append((found.st_mtime_ns, found.st_size, Path(entry.path)))
        return files

    def _log_problem(self, problem: str | None) -> None:
        """Log a problem once, and once more when it is solved."""
        with self._lock:
            if problem == self._problem:
                return
            self._problem = problem
        if problem is None:
            logger.info("embeddings are stored in SAM_EMBEDDINGS_DIR again")
        else:
            logger.warning(
                "could not store an embedding in SAM_EMBEDDINGS_DIR: %s; going on without the folder", problem
            )

    def _path(self, image_digest: str, fingerprint: str) -> Path:
        model = hashlib.sha256(fingerprint.encode()).hexdigest()[:12]
        return self._folder / f"{image_digest}-{model}{SUFFIX}"


def embedding_folder(settings: Settings) -> EmbeddingFolder | None:
    """Return the folder SAM_EMBEDDINGS_DIR; None if it is not set."""
    folder = settings.embeddings_dir
    return None if folder is None else EmbeddingFolder(folder, settings.embeddings_mib * MIB)


def _content(path: Path, max_bytes: int) -> bytes:
    """Return the bytes of a regular file; no bytes if it is larger than `max_bytes`.

    Raises:
        OSError: the file is missing, not a regular file, or cannot be read.
    """
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):  # opening a named pipe would block
        raise OSError("not a regular file")
    return path.read_bytes() if found.st_size <= max_bytes else b""


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
