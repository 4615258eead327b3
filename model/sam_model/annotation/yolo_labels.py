"""Label files of YOLO segmentation: one text file per image, one line per object, `class x y x y ...` in 0..1.

An object is one polygon, so its regions and holes are joined by bridges.

Source: the dataset format in docs.ultralytics.com/datasets/segment.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import numpy as np

from sam_model.annotation.annotated_image import AddImage, AnnotatedImage
from sam_model.annotation.atomic_file import write_atomically
from sam_model.annotation.label_outlines import outlines_from_mask


@contextmanager
def yolo_labels(folder: Path, class_names: Sequence[str]) -> Iterator[AddImage]:
    """Write a label file into `folder` for each image that is added; it is empty if there are no objects."""

    def add(image: AnnotatedImage) -> None:
        write_atomically(label_path(folder, image.name), label_text(image, class_names).encode("ascii"))

    yield add


def label_path(folder: Path, image_name: str) -> Path:
    """Return the path of an image's label file: the image's path with the extension `.txt`."""
    return folder / PurePosixPath(image_name).with_suffix(".txt")


def check_label_names(image_names: Sequence[str]) -> None:
    """Check that no two images have the same label file.

    Raises:
        ValueError: two have, such as `a.jpg` and `a.png`.
    """
    taken: dict[str, str] = {}
    for name in image_names:
        other = taken.setdefault(PurePosixPath(name).with_suffix("").as_posix(), name)
        if other != name:
            raise ValueError(f"{other!r} and {name!r} would share one YOLO label file; rename one of them")


def label_text(image: AnnotatedImage, class_names: Sequence[str]) -> str:
    """Return the lines of one image."""
    height, width = image.size
    lines = []
    for one in image.objects:
        (outline,) = outlines_from_mask(one.mask.mask, join_parts=True)
        numbers = " ".join(f"{number:.6f}" for number in (outline / np.array([width, height])).ravel())
        lines.append(f"{class_names.index(one.class_name)} {numbers}\n")
    return "".join(lines)


def dataset_text(class_names: Sequence[str]) -> str:
    """Return the `data.yaml` of a dataset with these classes. JSON strings are valid YAML."""
    names = "".join(f"  {number}: {json.dumps(name)}\n" for number, name in enumerate(class_names))
    return f"# put the images into images/, beside labels/\npath: .\ntrain: images\nval: images\nnames:\n{names}"
