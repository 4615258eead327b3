"""Lists of image files from folders, glob patterns and files."""

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PathLike = str | os.PathLike[str]
SUFFIXES = {
    ".avif",
    ".bmp",
    ".gif",
    ".jpeg",
    ".jpg",
    ".png",
    ".tif",
    ".tiff",
    ".webp",
}  # of the files that folders and patterns select


@dataclass(frozen=True)
class ListedImage:
    """An image file. `name` is its path below the common folder, with slashes, such as `a/b.jpg`."""

    path: Path
    name: str


@dataclass(frozen=True)
class ImageList:
    """Images sorted by path, and the folder that contains all of them."""

    root: Path
    images: tuple[ListedImage, ...]


def list_images(data: PathLike | Sequence[PathLike], leave_out: Path | None = None) -> ImageList:
    """Return the images that `data` selects, each once.

    A folder selects all images in it and its subfolders, except hidden ones (`.name`). A pattern such as
    `photos/**/*.jpg` selects the matching images. A file selects itself, whatever its extension.

    Args:
        data: folder, pattern or file, or several of them.
        leave_out: a folder whose images are not selected by a folder or pattern above it, such as the output folder.

    Raises:
        ValueError: a path does not exist, or there is no image.
    """
    parts = [data] if isinstance(data, str | os.PathLike) else list(data)
    if not parts:
        raise ValueError("no images: pass a folder, a pattern or files")
    paths = sorted({path for part in parts for path in _images(part, leave_out)})
    if not paths:
        raise ValueError(f"no images in {', '.join(repr(str(part)) for part in parts)}")
    folder = _absolute(parts[0])
    root = folder if len(parts) == 1 and folder.is_dir() else _common_folder(paths)
    return ImageList(root, tuple(ListedImage(path, path.relative_to(root).as_posix()) for path in paths))


def _absolute(path: PathLike) -> Path:
    """Return the absolute path without `..`. Links are not resolved, since a link has its own name."""
    return Path(os.path.normpath(Path(path).expanduser().absolute()))


def _images(part: PathLike, leave_out: Path | None) -> list[Path]:
    path = Path(part).expanduser()
    if path.is_file():
        return [_absolute(path)]
    if path.is_dir():
        folder, found = path, [file for file in path.rglob("*") if not _is_hidden(file.relative_to(path))]
    elif glob.has_magic(str(path)):
        folder = next(parent for parent in path.parents if not glob.has_magic(str(parent)))
        # Path.glob takes no absolute pattern
        found = [Path(match) for match in glob.glob(str(path), recursive=True)]  # noqa: PTH207
    else:
        raise ValueError(f"{str(part)!r} does not exist")
    images = [_absolute(file) for file in found if file.suffix.lower() in SUFFIXES and file.is_file()]
    if leave_out is not None and _absolute(folder) in leave_out.parents:
        images = [image for image in images if leave_out not in image.parents]
    if not images and not path.is_dir():
        raise ValueError(f"no image matches {str(part)!r}")
    return images


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _common_folder(paths: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([path.parent for path in paths]))
