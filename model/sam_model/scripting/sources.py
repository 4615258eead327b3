"""Sources of images in scripts and on the command line: files, folders, videos, URLs, arrays, tensors, lists of them.

Order and names are those of Ultralytics 8.4: images before videos, each sorted by path; what has no file is called
`image0.jpg`, `image1.jpg`, ...
"""

import glob
import itertools
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from sam_model.annotation.image_list import SUFFIXES as IMAGE_SUFFIXES
from sam_model.images.decode import decode_image
from sam_model.images.errors import ImageDecodeError
from sam_model.images.reader import MAX_FILE_PIXELS, ImageFormat, read_image
from sam_model.scripting.url_files import downloaded_video, read_url, shown_url
from sam_model.scripting.video import VIDEO_SUFFIXES, frame_count, read_frames

logger = logging.getLogger(__name__)

# a path, URL, pattern, folder, video, text file, Pillow image, array, tensor, or a list of these
Source = Any
OnFailure = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class SourceImage:
    """One image of a source."""

    image: NDArray[np.uint8]  # BGR (H, W, 3)
    path: str  # path or URL; `image0.jpg` and so on if there is none
    frame: int | None  # number of the video's frame, from 1; None if it is no video
    total: int | None  # number of images of the whole source; None if a video does not tell


@dataclass(frozen=True)
class _Item:
    """One file, array or tensor; nothing is read yet."""

    path: str
    read: Callable[[], Iterable[NDArray[np.uint8]]]  # RGB images
    is_video: bool = False
    count: Callable[[], int | None] = lambda: 1


def open_source(
    source: Source, image_format: ImageFormat = "BGR", on_failure: OnFailure | None = None
) -> Iterator[SourceImage]:
    """Return the images of a source one by one; only one is in memory at a time.

    Args:
        source: path of an image or video, HTTP(S) URL, folder (without its subfolders), glob pattern, `.txt` file with
            one of these per line, Pillow image, array (H, W), (H, W, 3) or (H, W, 4) of uint8 or uint16, tensor
            (B, 3, H, W) or (3, H, W), RGB in 0..1, or a list of any of them. An iterator of an earlier call is returned
            as it is.
        image_format: colour order of arrays.
        on_failure: called with a sentence for each image that cannot be read, if there are several; by default a
            warning is logged. A single image that cannot be read raises an error.

    Raises:
        ValueError: the source does not exist, has no images or is of another kind; or its only image cannot be read.
    """
    if isinstance(source, Iterator):
        return source
    items = _items(source, image_format)
    return _images(items, on_failure or _log_failure)


def single_image(source: Source, image_format: ImageFormat = "BGR") -> SourceImage:
    """Return the image of a source that has only one.

    Raises:
        ValueError: the image cannot be read, or the source has several.
    """
    images = list(itertools.islice(open_source(source, image_format), 2))
    if len(images) != 1:
        raise ValueError(f"the source has {'several images' if images else 'no image'}; needed: one")
    return images[0]


def _images(items: Sequence[_Item], on_failure: OnFailure) -> Iterator[SourceImage]:
    counts = [item.count() for item in items]
    total = None if None in counts else sum(count for count in counts if count is not None)
    for item in items:
        try:
            for number, image in enumerate(item.read(), 1):
                bgr = np.ascontiguousarray(image[..., ::-1])
                yield SourceImage(bgr, item.path, number if item.is_video else None, total)
        except ValueError as error:
            if len(items) == 1:
                raise
            on_failure(str(error))


def _log_failure(message: str) -> None:
    logger.warning("%s; skipped", message)


def _items(source: Source, image_format: ImageFormat) -> list[_Item]:
    if isinstance(source, list | tuple):
        if not source:
            raise ValueError("the source is an empty list; needed: at least one image")
        parts = [_single_items(one, image_format, number) for number, one in enumerate(source)]
        return [item for part in parts for item in part]
    return _single_items(source, image_format, 0)


def _single_items(source: Source, image_format: ImageFormat, number: int) -> list[_Item]:
    """Return the items of a source that is no list, at place `number` of a list."""
    if isinstance(source, str | os.PathLike):
        return _file_items(os.fspath(source))
    if isinstance(source, np.ndarray):
        return [_Item(f"image{number}.jpg", lambda: [read_image(source, image_format)])]
    if isinstance(source, PIL.Image.Image):
        path = getattr(source, "filename", "") or f"image{number}.jpg"
        return [_Item(str(path), lambda: [read_image(source)])]
    if "torch" in sys.modules and isinstance(source, sys.modules["torch"].Tensor):
        return _tensor_items(source, number)
    if isinstance(source, int):
        raise ValueError(f"source {source} would be a camera, which is not supported; needed: files, arrays or URLs")
    raise ValueError(
        f"the source is a {type(source).__name__}; needed: a path, URL, folder, pattern, Pillow image, array, tensor "
        "or a list of them"
    )


def _file_items(source: str) -> list[_Item]:
    scheme = source.partition("://")[0].lower() if "://" in source else ""
    if scheme in ("http", "https"):
        return [_url_item(source)]
    if scheme:
        raise ValueError(f"source {shown_url(source)!r}: streams of {scheme} are not supported; needed: http or https")
    path = Path(source).expanduser()
    if path.suffix.lower() == ".txt" and path.is_file():
        return _images_first([item for line in sorted(_lines(path)) for item in _line_items(line, path.parent)])
    return _path_items(source, path)


def _path_items(source: str, path: Path) -> list[_Item]:
    if path.is_file():
        return [_path_item(path)]
    if path.is_dir():
        found = [file for file in path.iterdir() if not file.name.startswith(".")]
    elif glob.has_magic(str(path)):
        # Path.glob takes no absolute pattern
        found = [Path(match) for match in glob.glob(str(path), recursive=True)]  # noqa: PTH207
    else:
        raise ValueError(f"{source!r} does not exist")
    files = [file for file in found if file.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES and file.is_file()]
    if not files:
        raise ValueError(f"no images or videos in {source!r}")
    return _images_first([_path_item(file) for file in sorted(files)])


def _images_first(items: list[_Item]) -> list[_Item]:
    return sorted(items, key=lambda item: item.is_video)


def _path_item(path: Path) -> _Item:
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return _Item(str(path), lambda: read_frames(path), is_video=True, count=lambda: frame_count(path))
    return _Item(str(path), lambda: [read_image(path)])


def _url_item(url: str) -> _Item:
    shown = shown_url(url)
    if Path(urlsplit(url).path).suffix.lower() in VIDEO_SUFFIXES:
        return _Item(shown, lambda: _url_frames(url), is_video=True, count=lambda: None)
    return _Item(shown, lambda: [_url_image(url)])


def _url_frames(url: str) -> Iterator[NDArray[np.uint8]]:
    with downloaded_video(url) as path:
        yield from read_frames(path, shown_url(url))


def _url_image(url: str) -> NDArray[np.uint8]:
    data = read_url(url)
    try:
        return decode_image(data, MAX_FILE_PIXELS)
    except ImageDecodeError as error:
        raise ValueError(f"could not read {shown_url(url)!r}: {error}") from error


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"could not read {str(path)!r}: {error}") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"{str(path)!r} is empty; needed: a path or URL per line")
    return lines


def _line_items(line: str, folder: Path) -> list[_Item]:
    """Return the items of a line: a URL, or a path from the working directory or else from the text file's folder."""
    if "://" in line:
        return _file_items(line)
    path = Path(line).expanduser()
    exists = path.exists() or (glob.has_magic(line) and glob.glob(str(path), recursive=True))  # noqa: PTH207
    return _path_items(line, path if exists else folder / path)


def _tensor_items(tensor: Any, number: int) -> list[_Item]:
    if tensor.ndim == 3:
        tensor = tensor[None]
    if tensor.ndim != 4 or tensor.shape[1] != 3 or 0 in tensor.shape:
        raise ValueError(f"the tensor has shape {tuple(tensor.shape)}; needed: (B, 3, H, W), RGB in 0..1")
    return [_Item(f"image{number + index}.jpg", partial(_tensor_images, one)) for index, one in enumerate(tensor)]


def _tensor_images(tensor: Any) -> list[NDArray[np.uint8]]:
    """Turn one tensor (3, H, W) with values in 0..1, or in 0..255, into RGB uint8 (H, W, 3)."""
    pixels: NDArray[Any] = tensor.detach().cpu().permute(1, 2, 0).float().numpy()
    is_unit = tensor.is_floating_point() and not pixels.max() > 1 + 1e-3  # of float16, one step above 1
    pixels = pixels * 255 if is_unit else pixels
    if not (pixels.min() >= 0 and pixels.max() < 256):  # not for NaN, too
        raise ValueError(f"the tensor has values {pixels.min():g}..{pixels.max():g}; needed: RGB in 0..1")
    return [np.rint(np.minimum(pixels, 255)).astype(np.uint8)]
