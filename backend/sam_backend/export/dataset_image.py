"""One image of a data set with its objects, and its JSON format in the records of an export."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sam_model.annotation.annotated_image import AnnotatedImage, AnnotatedObject
from sam_model.masks.coco_rle import RunLengths, run_lengths_from_coco

UNLABELED = "object"  # class name of regions without a label


@dataclass(frozen=True, eq=False)
class DatasetObject:
    """One region: its class, its mask, and the score if it is a prediction."""

    region_id: str
    class_name: str
    score: float | None
    mask: RunLengths

    def annotated(self) -> AnnotatedObject:
        """Return the object in the form of the writers of `sam_model.annotation`."""
        return AnnotatedObject(self.class_name, 1.0 if self.score is None else self.score, (0, 0, 0, 0), self.mask)


@dataclass(frozen=True, eq=False)
class DatasetImage:
    """One image: a task, or a page of a multi-page task."""

    task: int
    page: int | None  # of a multi-page task; None for a single image
    split: str  # one of SPLITS
    name: str  # of the file in the split's folder
    address: str  # in the task's data
    size: tuple[int, int]  # (height, width) of the upright image
    objects: tuple[DatasetObject, ...]

    @property
    def stem(self) -> str:
        """The file's name without its extension."""
        return self.name.rpartition(".")[0]

    def annotated(self) -> AnnotatedImage:
        """Return the image in the form of the writers of `sam_model.annotation`; its name begins with the split."""
        return AnnotatedImage(f"{self.split}/{self.name}", self.size, tuple(one.annotated() for one in self.objects))

    def to_json(self) -> dict[str, Any]:
        """Return the image as JSON, with masks in COCO's compressed run lengths."""
        objects = [
            [one.region_id, one.class_name, one.score, one.mask.to_coco(is_compressed=True)["counts"]]
            for one in self.objects
        ]
        return {
            "task": self.task,
            "page": self.page,
            "split": self.split,
            "name": self.name,
            "address": self.address,
            "size": list(self.size),
            "objects": objects,
        }

    @classmethod
    def from_json(cls, item: Mapping[str, Any]) -> "DatasetImage":
        """Read an image that `to_json` wrote."""
        height, width = item["size"]
        objects = tuple(
            DatasetObject(
                region_id, class_name, score, run_lengths_from_coco({"size": [height, width], "counts": counts})
            )
            for region_id, class_name, score, counts in item["objects"]
        )
        return cls(
            item["task"], item["page"], item["split"], item["name"], item["address"], (height, width), objects
        )  # fmt: skip
