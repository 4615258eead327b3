"""Image files of a data set: deterministic names; copied, linked or only measured.

A copy has the bytes of the original. An image with an EXIF orientation is the exception: it is decoded, turned upright
and written again, since the masks belong to the upright image and many trainers ignore the orientation.
"""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

import PIL.Image

from sam_backend.images.decode import decode_image
from sam_model.annotation.atomic_file import write_atomically
from sam_model.images.headers import open_image, read_header
from sam_model.images.orientation import UPRIGHT, orientation_of

ImageFiles = Literal["copy", "link", "none"]
Fetch = Callable[[str, int], bytes]  # of a data value and its task

EXTENSIONS = {
    "JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "BMP": ".bmp", "TIFF": ".tif", "WEBP": ".webp", "AVIF": ".avif",
}  # fmt: skip
SIDEWAYS = 5  # from this EXIF orientation on, width and height are exchanged
JPEG_QUALITY = 95
MAX_STEM = 80  # characters that a file name takes from the original


@dataclass(frozen=True)
class ImageFile:
    """A file of the data set: its name in its folder, and its upright size (height, width)."""

    name: str
    size: tuple[int, int]


class ImageFolder:
    """Writes the images of a data set. Threads may share it."""

    def __init__(self, folder: Path, how: ImageFiles, fetch: Fetch, max_pixels: int, link_root: Path | None) -> None:
        """
        Args:
            folder: has one folder per split.
            how: copy the images, link those below `link_root` and copy the others, or write none.
            fetch: returns the bytes of an image.
            max_pixels: of one image.
            link_root: Label Studio's LOCAL_FILES_DOCUMENT_ROOT or its media folder.
        """
        self._folder, self._how, self._fetch = folder, how, fetch
        self._max_pixels, self._link_root = max_pixels, link_root

    def add(
        self, address: str, task: int, page: int | None, split: str, known_size: tuple[int, int] | None
    ) -> ImageFile:
        """Write the image of a task's page unless it is there, and return its name and size.

        Without image files, the image is fetched only if `known_size`, that of its regions, is missing.

        Raises:
            BackendError: the image cannot be fetched or read.
            ImageDecodeError: the file is broken, or too large.
            OSError: the file cannot be written.
        """
        stem = file_stem(address, task, page)
        if self._how == "none" and known_size is not None:
            return ImageFile(stem + address_extension(address), known_size)
        original = self._linkable(address) if self._how == "link" else None
        data = original.read_bytes() if original is not None else self._fetch(address, task)
        header = read_header(data, self._max_pixels)
        with open_image(header, data) as image:
            orientation = orientation_of(image)
        size = (header.height, header.width) if orientation < SIDEWAYS else (header.width, header.height)
        name = stem + EXTENSIONS[header.format]
        path = self._folder / split / name
        if original is not None:
            _link(original, path)
        elif self._how != "none":
            if orientation != UPRIGHT:
                name = stem + (".jpg" if header.format == "JPEG" else ".png")
                data = self._upright(data, name)
            write_atomically(path.with_name(name), data)
        return ImageFile(name, size)

    def _upright(self, data: bytes, name: str) -> bytes:
        file = io.BytesIO()
        pixels = PIL.Image.fromarray(decode_image(data, self._max_pixels))
        if name.endswith(".jpg"):
            pixels.save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
        else:
            pixels.save(file, "PNG")
        return file.getvalue()

    def _linkable(self, address: str) -> Path | None:
        """Return the local file of a data value; None if it is not below the root."""
        parts = urlsplit(address)
        below = parse_qs(parts.query).get("d", [""])[0] if "/data/local-files" in parts.path else ""
        if not below and "/data/upload/" in parts.path:
            below = "upload/" + unquote(parts.path.partition("/data/upload/")[2])
        if self._link_root is None or not below:
            return None
        root = self._link_root.resolve()
        path = (root / below).resolve()
        return path if path.is_relative_to(root) and path.is_file() else None


def _link(original: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    part.symlink_to(original)
    part.replace(path)


def file_stem(address: str, task: int, page: int | None) -> str:
    """Return a file's name without extension: task, page if there are several, and the original name."""
    original = "" if address[:5].lower() == "data:" else _original_name(address).rpartition(".")[0]
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", original).strip("._")[-MAX_STEM:]
    return "-".join(part for part in (f"{task:06d}", "" if page is None else f"{page:03d}", readable) if part)


def address_extension(address: str) -> str:
    """Return the extension in a data value in lower case; `.jpg` if it has none."""
    if address[:5].lower() == "data:":
        kind = address[5:].partition(";")[0].partition(",")[0].rpartition("/")[2].upper()
        return EXTENSIONS.get(kind, ".jpg")
    found = re.search(r"\.[A-Za-z0-9]{2,5}$", _original_name(address))
    return found[0].lower() if found else ".jpg"


def _original_name(address: str) -> str:
    parts = urlsplit(address)
    local = parse_qs(parts.query).get("d", [""])[0] if "/data/local-files" in parts.path else ""
    return unquote(local or parts.path).rpartition("/")[2]
