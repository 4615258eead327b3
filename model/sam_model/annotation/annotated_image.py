"""The annotations of one image, and their JSON format."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sam_model.masks.coco_rle import RunLengths, run_lengths_from_coco
from sam_model.types import Box


@dataclass(frozen=True, eq=False)
class AnnotatedObject:
    """One object: the detector's box, score and class, and the mask, which has at least one pixel."""

    class_name: str
    score: float  # the detector's, 0..1
    box: Box  # the detector's; the mask may extend beyond it
    mask: RunLengths

    def to_json(self) -> dict[str, Any]:
        """Return the object as JSON, with the mask in COCO's compressed run lengths."""
        mask = self.mask.to_coco(is_compressed=True)
        return {"class_name": self.class_name, "score": self.score, "box": list(self.box), "mask": mask}

    @classmethod
    def from_json(cls, item: Mapping[str, Any]) -> "AnnotatedObject":
        """Read an object that `to_json` wrote.

        Raises:
            ValueError, KeyError, TypeError: `item` has another format.
        """
        x_min, y_min, x_max, y_max = map(float, item["box"])
        mask = run_lengths_from_coco(item["mask"])
        return cls(str(item["class_name"]), float(item["score"]), (x_min, y_min, x_max, y_max), mask)


@dataclass(frozen=True, eq=False)
class AnnotatedImage:
    """One image: its name in the list, its upright size in pixels, and its objects, highest-scoring first."""

    name: str
    size: tuple[int, int]  # (height, width)
    objects: tuple[AnnotatedObject, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the image's annotations as JSON."""
        return {"name": self.name, "size": list(self.size), "objects": [one.to_json() for one in self.objects]}

    @classmethod
    def from_json(cls, item: Mapping[str, Any]) -> "AnnotatedImage":
        """Read annotations that `to_json` wrote.

        Raises:
            ValueError, KeyError, TypeError: `item` has another format.
        """
        height, width = map(int, item["size"])
        objects = tuple(AnnotatedObject.from_json(one) for one in item["objects"])
        return cls(str(item["name"]), (height, width), objects)


AddImage = Callable[[AnnotatedImage], None]  # adds an image to a file that is being written
