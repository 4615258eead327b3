"""The answers so far, a file a picture, so that a run that ended early goes on where it was.

Every output is put together from these records: a run that was killed leaves records, and the next one makes the same
files from them as if it had never been interrupted.
"""

import hashlib
import json
from pathlib import Path

from sam_model.annotation.annotated_image import AnnotatedImage
from sam_model.annotation.atomic_file import write_atomically
from sam_model.annotation.image_list import ListedImage


class RecordStore:
    """Records in a folder; those of other settings, or of a picture that changed since, do not count."""

    def __init__(self, folder: Path, settings: str) -> None:
        """Records lie in `folder`; `settings` name everything that the answers depend on but the picture."""
        self._folder = folder
        self._settings = settings

    def find(self, image: ListedImage) -> AnnotatedImage | None:
        """What is known of a picture; None where nothing is, or the record cannot be read."""
        try:
            record = json.loads(self._path(image).read_bytes())
            if record["made_from"] == self._made_from(image):
                return AnnotatedImage.from_json(record["image"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return None

    def save(self, image: ListedImage, annotated: AnnotatedImage) -> None:
        """Write down what was found in a picture.

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
