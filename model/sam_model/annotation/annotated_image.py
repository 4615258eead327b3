"""What was found in one picture, and the same as JSON."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sam_model.masks.coco_rle import RunLengths, run_lengths_from_coco
from sam_model.types import Box


@dataclass(frozen=True, eq=False)
class AnnotatedObject:
    """One object: the detector's box, surety and class, and the mask; the mask has at least one pixel."""

    class_name: str
    score: float  # the detector's, 0..1
    box: Box  # the detector's; a mask may reach beyond it
    mask: RunLengths

    def to_json(self) -> dict[str, Any]:
        """Everything, the mask as COCO's compressed run lengths."""
        mask = self.mask.to_coco(is_compressed=True)
        return {"class_name": self.class_name, "score": self.score, "box": list(self.box), "mask": mask}

    @classmethod
    def from_json(cls, item: Mapping[str, Any]) -> "AnnotatedObject":
        """The object that `to_json` wrote.

        Raises:
            ValueError, KeyError, TypeError: it did not write this.
        """
        x_min, y_min, x_max, y_max = map(float, item["box"])
        mask = run_lengths_from_coco(item["mask"])
        return cls(str(item["class_name"]), float(item["score"]), (x_min, y_min, x_max, y_max), mask)


@dataclass(frozen=True, eq=False)
class AnnotatedImage:
    """One picture: its name in the list, its upright size in pixels, the objects, the surest first."""

    name: str
    size: tuple[int, int]  # (height, width)
    objects: tuple[AnnotatedObject, ...]

    def to_json(self) -> dict[str, Any]:
        """Everything."""
        return {"name": self.name, "size": list(self.size), "objects": [one.to_json() for one in self.objects]}

    @classmethod
    def from_json(cls, item: Mapping[str, Any]) -> "AnnotatedImage":
        """The picture that `to_json` wrote.

        Raises:
            ValueError, KeyError, TypeError: it did not write this.
        """
        height, width = map(int, item["size"])
        objects = tuple(AnnotatedObject.from_json(one) for one in item["objects"])
        return cls(str(item["name"]), (height, width), objects)


AddImage = Callable[[AnnotatedImage], None]  # puts a picture into a file that is being written
