"""Stored results, one file per image, so that an interrupted run can be resumed.

All outputs are made from these records. A run that was killed leaves records, and the next run writes the same files as
if there had been no interruption.
"""

import hashlib
import json
from pathlib import Path

from sam_model.annotation.annotated_image import AnnotatedImage
from sam_model.annotation.atomic_file import write_atomically
from sam_model.annotation.image_list import ListedImage


class RecordStore:
    """A folder of records. Records with other settings, or of an image that has changed since, are ignored."""

    def __init__(self, folder: Path, settings: str) -> None:
        """Use `folder`; `settings` identifies everything that the results depend on, beside the image."""
        self._folder = folder
        self._settings = settings

    def find(self, image: ListedImage) -> AnnotatedImage | None:
        """Return the stored result of an image; None if there is none or it cannot be read."""
        try:
            record = json.loads(self._path(image).read_bytes())
            if record["made_from"] == self._made_from(image):
                return AnnotatedImage.from_json(record["image"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return None

    def save(self, image: ListedImage, annotated: AnnotatedImage) -> None:
        """Store the result of an image.

        Raises:
            OSError: the record cannot be written.
        """
        record = {"made_from": self._made_from(image), "image": annotated.to_json()}
        write_atomically(self._path(image), json.dumps(record).encode())

    def _path(self, image: ListedImage) -> Path:
        return self._folder / f"{hashlib.sha256(image.name.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.json"

    def _made_from(self, image: ListedImage) -> list[str | int]:
        about = image.path.stat()
        return [image.name, about.st_size, about.st_mtime_ns, self._settings]
