"""A folder, a glob pattern, a file or a list of them -> the pictures in it, each with a name."""

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PathLike = str | os.PathLike[str]
SUFFIXES = {
    ".bmp",
    ".gif",
    ".jpeg",
    ".jpg",
    ".png",
    ".tif",
    ".tiff",
    ".webp",
}  # what folders and patterns are taken for


@dataclass(frozen=True)
class ListedImage:
    """A picture file; `name` is its path within the folder that all of them share, with slashes, such as `a/b.jpg`."""

    path: Path
    name: str


@dataclass(frozen=True)
class ImageList:
    """Pictures in the order of their names, and the folder that they share."""

    root: Path
    images: tuple[ListedImage, ...]


def list_images(data: PathLike | Sequence[PathLike], leave_out: Path | None = None) -> ImageList:
    """The pictures that `data` name, each once.

    A folder stands for all pictures in it and in its subfolders, hidden ones (`.name`) left out; a pattern such as
    `photos/**/*.jpg` for those that match; a file for itself, whatever its ending.

    Args:
        data: folder, pattern or file, or several of them.
        leave_out: a folder whose pictures are not meant where it lies below a folder or pattern's first folder, such
            as the one that the answers are written to.

    Raises:
        ValueError: something is not there, or there is no picture at all.
    """
    parts = [data] if isinstance(data, str | os.PathLike) else list(data)
    if not parts:
        raise ValueError("no pictures: give a folder, a pattern or files")
    paths = sorted({path for part in parts for path in _pictures(part, leave_out)})
    if not paths:
        raise ValueError(f"no pictures in {', '.join(repr(str(part)) for part in parts)}")
    folder = _absolute(parts[0])
    root = folder if len(parts) == 1 and folder.is_dir() else _shared_folder(paths)
    return ImageList(root, tuple(ListedImage(path, path.relative_to(root).as_posix()) for path in paths))


def _absolute(path: PathLike) -> Path:
    """With `..` worked out and links kept: a link has its own name."""
    return Path(os.path.normpath(Path(path).expanduser().absolute()))


def _pictures(part: PathLike, leave_out: Path | None) -> list[Path]:
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
        raise ValueError(f"{str(part)!r} is not there")
    pictures = [_absolute(file) for file in found if file.suffix.lower() in SUFFIXES and file.is_file()]
    if leave_out is not None and _absolute(folder) in leave_out.parents:
        pictures = [picture for picture in pictures if leave_out not in picture.parents]
    if not pictures and not path.is_dir():
        raise ValueError(f"no picture matches {str(part)!r}")
    return pictures


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _shared_folder(paths: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([path.parent for path in paths]))
