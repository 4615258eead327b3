"""Masks as PNG files: one per object, or one per image with the classes as colours of a palette."""

import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import PIL.Image

from sam_backend.export.dataset_image import DatasetImage
from sam_model.annotation.atomic_file import atomic_file, write_atomically
from sam_model.masks.overlay import mask_colour

MAX_CLASSES = 255  # 0 is the background


def write_object_pngs(images: Iterable[DatasetImage], out: Path) -> None:
    """Write `masks/SPLIT/NAME-001.png` for each object, 255 on the object and 0 beside it, and `objects.jsonl`."""
    with atomic_file(out / "objects.jsonl") as index:
        for image in images:
            for number, one in enumerate(image.objects, 1):
                file = f"{image.split}/{image.stem}-{number:03d}.png"
                pixels = PIL.Image.fromarray(one.mask.mask.astype(np.uint8) * 255)
                write_atomically(out / "masks" / file, _png(pixels))
                entry = {
                    "mask": file,
                    "image": f"{image.split}/{image.name}",
                    "label": one.class_name,
                    "task": image.task,
                    "page": image.page,
                    "region": one.region_id,
                    "score": one.score,
                }
                index.write(json.dumps(entry).encode() + b"\n")


def write_class_pngs(images: Iterable[DatasetImage], out: Path, class_names: Sequence[str]) -> None:
    """Write `masks/SPLIT/NAME.png` for each image, whose values are numbers of classes, and `classes.json`.

    Where objects overlap, the smaller one is on top; of two equally large ones, the later one.

    Raises:
        ValueError: there are more than `MAX_CLASSES` classes.
    """
    if len(class_names) > MAX_CLASSES:
        raise ValueError(f"--format semantic: {len(class_names)} classes; a palette has {MAX_CLASSES}; use png")
    numbers = {name: number for number, name in enumerate(class_names, 1)}
    palette = [0, 0, 0, *(value for index in range(len(class_names)) for value in mask_colour(index))]
    for image in images:
        values = np.zeros(image.size, np.uint8)
        for one in sorted(image.objects, key=lambda one: -one.mask.area):
            values[one.mask.mask] = numbers[one.class_name]
        pixels = PIL.Image.fromarray(values)  # becomes mode P with the palette
        pixels.putpalette(palette)
        write_atomically(out / "masks" / image.split / f"{image.stem}.png", _png(pixels))
    write_atomically(out / "classes.json", json.dumps({"background": 0, **numbers}, indent=1).encode() + b"\n")


def _png(image: PIL.Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
