"""The regions of a project's images with their descriptors, in files beside the embeddings.

The descriptors of all images lie one after the other in `descriptors`, as float16, which searches map into memory. A
line of `regions` has an image's regions, and a line of `images` says where both are. A line of `images` is written
last, so an image whose writer was killed is missing, and is added again.
"""

import hashlib
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from filelock import FileLock
from numpy.typing import NDArray

from sam_backend.settings import Settings
from sam_model.automatic_segmentation import SegmentedObject
from sam_model.exemplars.descriptors import Descriptors
from sam_model.exemplars.similarity import Scores
from sam_model.masks.coco_rle import run_lengths_from_coco

FOLDER = "exemplars"  # in SAM_EMBEDDINGS_DIR
LOCK_WAIT_S = 10.0
ITEM_BYTES = 2  # of a float16


@dataclass(frozen=True)
class IndexedImage:
    """Where the regions of an image are: rows of `descriptors`, bytes of `regions`."""

    first: int
    count: int
    length: int  # numbers of one descriptor
    offset: int
    size: int


class ProjectIndex:
    """The index of one project, one segmenter and one engine. Threads and processes may share its folder."""

    def __init__(self, folder: Path, key: str) -> None:
        """Use a subfolder of `folder` for the regions and descriptors that `key` identifies."""
        self._folder = folder / hashlib.sha256(key.encode()).hexdigest()[:12]
        self._images: dict[str, IndexedImage] = {}
        self._read_bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """The number of images."""
        with self._lock:
            self._refresh()
            return len(self._images)

    def __contains__(self, digest: object) -> bool:
        """Return whether an image with this digest was added."""
        with self._lock:
            if digest not in self._images:
                self._refresh()
            return digest in self._images

    def read(self, digest: str) -> tuple[list[SegmentedObject], Descriptors] | None:
        """Return the regions of an image and their descriptors (N, D); None if it is not in the index."""
        with self._lock:
            if digest not in self._images:
                self._refresh()
            found = self._images.get(digest)
        if found is None:
            return None
        try:
            with (self._folder / "regions").open("rb") as file:
                file.seek(found.offset)
                stored = orjson.loads(file.read(found.size))
            regions = [
                SegmentedObject(run_lengths_from_coco(one["mask"]), tuple(one["box"]), one["score"]) for one in stored
            ]
        except (OSError, ValueError, KeyError):
            return None
        rows = self._rows(found.first, found.count, found.length)
        return regions, np.asarray(rows, np.float32)

    def add(self, digest: str, regions: Sequence[SegmentedObject], descriptors: Descriptors) -> None:
        """Add an image; the index is left as it is if the folder cannot be written."""
        stored = [
            {"mask": one.run_lengths.to_coco(is_compressed=True), "box": one.box, "score": one.score} for one in regions
        ]
        text = orjson.dumps(stored)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self._folder / "lock", timeout=LOCK_WAIT_S):
                length = descriptors.shape[1]
                rows, lines = self._folder / "descriptors", self._folder / "regions"
                first = _size(rows) // (ITEM_BYTES * max(1, length))
                _append(rows, first * ITEM_BYTES * length, descriptors.astype(np.float16).tobytes())
                offset = _size(lines)
                _append(lines, offset, text)
                place = IndexedImage(first, len(regions), length, offset, len(text))
                line = orjson.dumps([digest, place.first, place.count, place.length, place.offset, place.size]) + b"\n"
                _append(self._folder / "images", _end_of_lines(self._folder / "images"), line)
        except (OSError, TimeoutError):
            return

    def best_scores(self, scorer: Callable[[NDArray[Any]], Scores]) -> dict[str, float]:
        """Return the highest score of each image's regions, by the image's digest."""
        with self._lock:
            self._refresh()
            images = dict(self._images)
        if not images:
            return {}
        length = max(place.length for place in images.values())
        rows = self._rows(0, _size(self._folder / "descriptors") // (ITEM_BYTES * length), length)
        scores = scorer(rows)
        return {
            digest: float(scores[place.first : place.first + place.count].max())
            for digest, place in images.items()
            if place.count
        }

    def _rows(self, first: int, count: int, length: int) -> NDArray[np.float16]:
        if not count:
            return np.empty((0, length), np.float16)
        offset = first * length * ITEM_BYTES
        return np.memmap(self._folder / "descriptors", np.float16, "r", offset=offset, shape=(count, length))

    def _refresh(self) -> None:
        """Read the images that were added since the last call."""
        try:
            with (self._folder / "images").open("rb") as file:
                file.seek(self._read_bytes)
                added = file.read()
        except OSError:
            return
        whole = added[: added.rfind(b"\n") + 1]
        for line in whole.splitlines():
            try:
                digest, *numbers = orjson.loads(line)
                self._images[digest] = IndexedImage(*numbers)
            except (ValueError, TypeError):
                continue
        self._read_bytes += len(whole)


def index_of(settings: Settings, installation: str, project: int, key: str) -> ProjectIndex | None:
    """Return the index of a project of a Label Studio; None if SAM_EMBEDDINGS_DIR is not set."""
    if settings.embeddings_dir is None:
        return None
    owner = hashlib.sha256(f"{installation} {project}".encode()).hexdigest()[:12]
    return ProjectIndex(settings.embeddings_dir / FOLDER / owner, key)


def clear_indexes(settings: Settings) -> None:
    """Remove the indexes of all projects.

    Raises:
        OSError: the folder cannot be changed.
    """
    folder = None if settings.embeddings_dir is None else settings.embeddings_dir / FOLDER
    if folder is not None and folder.is_dir():
        shutil.rmtree(folder)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _append(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.truncate(at)  # what a killed writer left
        file.seek(at)
        file.write(data)


def _end_of_lines(path: Path) -> int:
    return path.read_bytes().rfind(b"\n") + 1 if path.exists() else 0
