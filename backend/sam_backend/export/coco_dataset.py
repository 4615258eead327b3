"""A data set in COCO's format: `annotations/instances_SPLIT.json`, whose images are in `images/SPLIT`.

Source: cocodataset.org/#format-data. An object is one annotation, however many parts it has.
"""

import json
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from sam_backend.export.dataset_image import DatasetImage
from sam_model.annotation.atomic_file import atomic_file
from sam_model.annotation.coco import CocoSegmentation, coco_annotation


def write_coco(
    images: Iterable[DatasetImage],
    out: Path,
    class_names: Sequence[str],
    splits: Sequence[str],
    segmentation: CocoSegmentation,
    made_by: str,
) -> None:
    """Write one file per split. Ids of images and annotations are unique across the splits; classes count from 1."""
    categories = [{"id": number, "name": name} for number, name in enumerate(class_names, 1)]
    numbers = {name: number for number, name in enumerate(class_names, 1)}
    head = json.dumps({"info": {"description": made_by}, "licenses": [], "categories": categories}).encode()[:-1]
    listed: dict[str, list[dict[str, Any]]] = {split: [] for split in splits}
    count = image_id = 0
    with ExitStack() as stack:
        files: dict[str, BinaryIO] = {}
        for split in splits:
            files[split] = stack.enter_context(atomic_file(out / "annotations" / f"instances_{split}.json"))
            files[split].write(head + b',\n"annotations": [')
        is_first = dict.fromkeys(splits, True)
        for image in images:
            image_id += 1
            height, width = image.size
            entry = {"id": image_id, "file_name": image.name, "width": width, "height": height, "task_id": image.task}
            listed[image.split].append(entry if image.page is None else {**entry, "page": image.page})
            for one in image.objects:
                count += 1
                annotation = {
                    "id": count,
                    "image_id": image_id,
                    "category_id": numbers[one.class_name],
                    "region_id": one.region_id,
                    **coco_annotation(one.annotated(), segmentation),
                }
                if one.score is None:
                    del annotation["score"]
                files[image.split].write(b"\n" if is_first[image.split] else b",\n")
                files[image.split].write(json.dumps(annotation).encode())
                is_first[image.split] = False
        for split, file in files.items():
            file.write(b'],\n"images": ' + json.dumps(listed[split]).encode() + b"}\n")
