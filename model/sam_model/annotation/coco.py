"""Instance masks as a COCO file.

`segmentation` is a compressed run-length encoding, which is exact and has holes. Alternatively it is polygons, one per
region of a mask. COCO's polygons have no holes, so bridges of no width connect the outline with its holes.

Source: cocodataset.org/#format-data.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from sam_model.annotation.annotated_image import AddImage, AnnotatedImage, AnnotatedObject
from sam_model.annotation.atomic_file import atomic_file
from sam_model.annotation.label_outlines import outlines_from_mask
from sam_model.masks.boxes import box_from_mask

CocoSegmentation = Literal["rle", "polygon"]


@contextmanager
def coco_file(
    path: Path, class_names: Sequence[str], segmentation: CocoSegmentation = "rle", made_by: str = ""
) -> Iterator[AddImage]:
    """Write a COCO file of the images that are added. Memory use is one line per image, without masks.

    Args:
        path: of the file, which appears when it is complete.
        class_names: become the categories 1, 2, 3, ...
        segmentation: run lengths or polygons.
        made_by: origin of the masks, for the file's description.
    """
    categories = [{"id": number, "name": name} for number, name in enumerate(class_names, 1)]
    images: list[dict[str, Any]] = []
    count = 0
    with atomic_file(path) as file:
        head = {"info": {"description": made_by}, "licenses": [], "categories": categories}
        file.write(json.dumps(head).encode()[:-1] + b',\n"annotations": [')

        def add(image: AnnotatedImage) -> None:
            nonlocal count
            height, width = image.size
            images.append({"id": len(images) + 1, "file_name": image.name, "width": width, "height": height})
            for one in image.objects:
                count += 1
                annotation = {
                    "id": count,
                    "image_id": len(images),
                    "category_id": class_names.index(one.class_name) + 1,
                    **coco_annotation(one, segmentation),
                }
                file.write((b",\n" if count > 1 else b"\n") + json.dumps(annotation).encode())

        yield add
        file.write(b'],\n"images": ' + json.dumps(images).encode() + b"}\n")


def coco_annotation(one: AnnotatedObject, segmentation: CocoSegmentation) -> dict[str, Any]:
    """Return COCO's entry for one object: box and area of its mask, the mask, and the detector's score."""
    mask = one.mask.mask
    box = box_from_mask(mask)
    assert box is not None
    x_min, y_min, x_max, y_max = box
    shape: Any = one.mask.to_coco(is_compressed=True)
    if segmentation == "polygon":
        outlines = outlines_from_mask(mask, join_parts=False)
        shape = [[round(float(number), 2) for number in outline.ravel()] for outline in outlines]
    return {
        "bbox": [x_min, y_min, x_max - x_min, y_max - y_min],
        "area": one.mask.area,
        "segmentation": shape,
        "iscrowd": 0,
        "score": round(one.score, 4),
    }
