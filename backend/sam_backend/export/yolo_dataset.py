"""A data set in the format of YOLO segmentation: `labels/SPLIT/NAME.txt` for `images/SPLIT/NAME.jpg`, and `data.yaml`.

An object is one line, and so one polygon: bridges of no width connect its parts and lead to its holes.
Source: docs.ultralytics.com/datasets/segment.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from sam_backend.export.dataset_image import DatasetImage
from sam_model.annotation.atomic_file import write_atomically
from sam_model.annotation.yolo_labels import label_text


def write_yolo(images: Iterable[DatasetImage], out: Path, class_names: Sequence[str], splits: Sequence[str]) -> None:
    """Write the label files, then `data.yaml`."""
    for image in images:
        text = label_text(image.annotated(), class_names)
        write_atomically(out / "labels" / image.split / f"{image.stem}.txt", text.encode("ascii"))
    write_atomically(out / "data.yaml", data_yaml(class_names, splits).encode())


def data_yaml(class_names: Sequence[str], splits: Sequence[str]) -> str:
    """Return `data.yaml` for the splits that have images. Without one for validation, the training images are used.

    Without the key `path`, the folders are relative to the file itself.
    """
    first = splits[0] if splits else "train"
    folders = {"train": "train" if "train" in splits else first, "val": "val" if "val" in splits else first}
    lines = [f"{name}: images/{folder}\n" for name, folder in folders.items()]
    if "test" in splits:
        lines.append("test: images/test\n")
    names = [f"  {number}: {json.dumps(name)}\n" for number, name in enumerate(class_names)]
    return "".join(lines) + "names:\n" + "".join(names)
