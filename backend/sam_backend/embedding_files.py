"""Embeddings in a folder: what was embedded before a restart need not be embedded again. Bounded by bytes.

A file's name comes from the picture's bytes and the model, not from the picture's address: what lies at an address may
change, and a mask of another picture is worse than none. SAM's embeddings only; the other models look at a picture
again in less time than it takes to keep what they saw.
"""

import hashlib
import logging
import os
import threading
from pathlib import Path

from sam_model.interfaces import Embedding

logger = logging.getLogger(__name__)

SUFFIX = ".embedding"
ROOM_MADE = 0.9  # of the bytes allowed are left after the oldest were removed


class EmbeddingFiles:
    """A folder that several processes may share; whatever goes wrong with it costs time, never an answer."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._bytes_held: int | None = None  # None: nobody has looked yet
        self._lock = threading.Lock()

    def read(self, picture: bytes, fingerprint: str) -> Embedding | None:
        """The embedding of a picture by the model of that fingerprint; None where there is none that can be used."""
        path = self._path(picture, fingerprint)
        try:
            data = path.read_bytes()
            os.utime(path)  # it was used now
        except OSError:
            return None
        from sam_model.sam.embedding_bytes import embedding_from_bytes

        try:
            return embedding_from_bytes(data, fingerprint)
        except ValueError as error:
            logger.warning("%s is removed: %s", path.name, error)
            path.unlink(missing_ok=True)
            return None

    def write(self, picture: bytes, embedding: Embedding) -> None:
        """Keep the embedding of a picture, if it is one that can be kept; the files used longest ago make room."""
        from sam_model.sam.embedding_bytes import embedding_to_bytes
        from sam_model.sam.segmenter import SamEmbedding

        if not isinstance(embedding, SamEmbedding) or embedding.nbytes > self._max_bytes:
            return
        path = self._path(picture, embedding.fingerprint)
        half_done = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            half_done.write_bytes(embedding_to_bytes(embedding))
            half_done.replace(path)
            self._make_room(path.stat().st_size)
        except OSError as error:
            half_done.unlink(missing_ok=True)
            logger.warning("an embedding cannot be kept in SAM_EMBEDDINGS_DIR: %s", error.strerror)

    def _make_room(self, added: int) -> None:
        with self._lock:
            if self._bytes_held is not None and self._bytes_held + added <= self._max_bytes:
                self._bytes_held += added
                return
            files = sorted((stat.st_mtime_ns, stat.st_size, path) for path, stat in self._files())
            held = sum(size for _, size, _ in files)
            room = self._max_bytes if held <= self._max_bytes else ROOM_MADE * self._max_bytes
            for _, size, path in files:
                if held <= room:
                    break
                path.unlink(missing_ok=True)
                held -= size
            self._bytes_held = held

    def _files(self) -> list[tuple[Path, os.stat_result]]:
        found = []
        for entry in os.scandir(self._folder):
            if entry.name.endswith(SUFFIX):
                try:
                    found.append((Path(entry.path), entry.stat()))
                except OSError:  # another process removed it
                    continue
        return found

    def _path(self, picture: bytes, fingerprint: str) -> Path:
        of_picture = hashlib.sha256(picture).hexdigest()[:40]
        of_model = hashlib.sha256(fingerprint.encode()).hexdigest()[:12]
        return self._folder / f"{of_picture}-{of_model}{SUFFIX}"
