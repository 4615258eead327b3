"""Files of results: YOLO labels, and crops of the objects."""

import itertools
from pathlib import Path

import numpy as np
import PIL.Image

from sam_model.scripting.boxes import Boxes
from sam_model.scripting.masks import Masks
from sam_model.types import Image

CROP_SCALE, CROP_MARGIN = 1.02, 10  # a crop is so much larger than its box, and so many pixels wider and higher


def write_labels(path: Path, boxes: Boxes | None, masks: Masks | None, has_scores: bool) -> None:
    """Append a line per object to `path`; see `Results.save_txt`.

    Raises:
        OSError: the file cannot be written.
    """
    if boxes is None:
        return
    arrays = boxes.numpy()
    outlines = None if masks is None else masks.xyn
    lines = []
    for index, place in enumerate(arrays.xywhn):
        if outlines is not None and len(outlines[index]) < 3:
            continue  # not a polygon
        shape = place if outlines is None else outlines[index].ravel()
        numbers = [float(arrays.cls[index]), *shape.tolist()]
        if has_scores:
            numbers.append(float(arrays.conf[index]))
        if arrays.is_track:
            numbers.append(float(arrays.id[index]))
        lines.append(" ".join(f"{number:g}" for number in numbers) + "\n")
    if lines:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.writelines(lines)


def write_crops(folder: Path, file_name: Path, image: Image, boxes: Boxes, names: dict[int, str]) -> None:
    """Write the part of a BGR image in each box to a JPEG file; see `Results.save_crop`.

    Raises:
        OSError: a file cannot be written.
    """
    height, width = image.shape[:2]
    arrays = boxes.numpy()
    for (x, y, *size), class_id in zip(arrays.xywh, arrays.cls, strict=True):
        half_width, half_height = ((side * CROP_SCALE + CROP_MARGIN) / 2 for side in size)
        left, right = np.clip([int(x - half_width), int(x + half_width)], 0, width)
        top, bottom = np.clip([int(y - half_height), int(y + half_height)], 0, height)
        if right > left and bottom > top:
            path = unused_path(folder / names[int(class_id)] / file_name.with_suffix(".jpg").name)
            path.parent.mkdir(parents=True, exist_ok=True)
            crop = np.ascontiguousarray(image[top:bottom, left:right, ::-1])
            PIL.Image.fromarray(crop).save(path, quality=95, subsampling=0)


def unused_path(path: Path) -> Path:
    """Return a path that does not exist yet: the given one, or with -2, -3, ... after its name."""
    names = itertools.chain([path.stem], (f"{path.stem}-{number}" for number in itertools.count(2)))
    return next(one for one in (path.with_name(name + path.suffix) for name in names) if not one.exists())
