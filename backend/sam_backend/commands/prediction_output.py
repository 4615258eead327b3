"""Output of `label-studio-sam predict`: files, JSON and lines of text."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sam_model.scripting.results import Results
    from sam_model.scripting.sources import SourceImage


@dataclass
class PredictionFiles:
    """The files of a prediction: overlays, labels and edge maps."""

    folder: Path | None  # None writes nothing
    has_labels: bool = False  # YOLO labels, too
    _stems: set[str] = field(default_factory=set)

    def write(self, image: "SourceImage", results: "Results", has_class_names: bool) -> None:
        """Write the overlay DIR/NAME.jpg and, if wanted, the labels DIR/labels/NAME.txt.

        Raises:
            OSError: a file cannot be written.
        """
        if self.folder is None:
            return
        import PIL.Image

        from sam_model.masks.overlay import draw_overlay
        from sam_model.scripting.prediction import file_stem

        stem = file_stem(image, self._stems)
        if has_class_names:
            overlay = results.plot()[..., ::-1].copy()
        else:
            overlay = draw_overlay(results.image, results.run_lengths, results.prompts)
        self.folder.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(overlay).save(self.folder / f"{stem}.jpg", quality=95)
        if self.has_labels:
            labels = self.folder / "labels" / f"{stem}.txt"
            labels.unlink(missing_ok=True)
            results.save_txt(labels)

    def write_edges(self, image: "SourceImage", edges: "NDArray[np.float32]") -> Path:
        """Write an edge map to DIR/NAME-edges.png, white on black, and return its path.

        Raises:
            OSError: the file cannot be written.
        """
        import numpy as np
        import PIL.Image

        from sam_model.scripting.prediction import file_stem

        assert self.folder is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{file_stem(image, self._stems)}-edges.png"
        PIL.Image.fromarray(np.rint(255 * edges).astype(np.uint8)).save(path)
        return path


def image_json(image: "SourceImage", results: "Results", has_class_names: bool) -> dict[str, Any]:
    """Return the objects of an image: boxes (x_min, y_min, x_max, y_max) in pixels, masks as COCO's run lengths."""
    objects: list[dict[str, Any]] = [
        {"label": label if has_class_names else None, "score": score, "box": box}
        for label, score, box in _objects(results)
    ]
    for one, lengths in zip(objects, results.run_lengths, strict=False):
        one["area"], one["rle"] = lengths.area, lengths.to_coco(is_compressed=True)
    return {"image": image.path, "frame": image.frame, "size": list(results.orig_shape), "objects": objects}


def object_lines(results: "Results", has_class_names: bool) -> list[str]:
    """Return a line per object."""
    return [
        f"score {score:.3f}  box {', '.join(f'{edge:g}' for edge in box)}{'  ' + label if has_class_names else ''}"
        for label, score, box in _objects(results)
    ]


def image_line(image: "SourceImage", results: "Results", has_class_names: bool) -> str:
    """Return one line for an image: how many objects it has."""
    frame = "" if image.frame is None else f", frame {image.frame}"
    counts = Counter(label for label, _, _ in _objects(results)) if has_class_names else {}
    classes = ", ".join(f"{count} {label}" for label, count in counts.items())
    return f"{image.path}{frame}: {objects_words(len(results))}{f' ({classes})' if classes else ''}"


def objects_words(count: int) -> str:
    """Return `1 object`, `2 objects`."""
    return f"{count} object{'' if count == 1 else 's'}"


def _objects(results: "Results") -> list[tuple[str, float, list[float]]]:
    """Return label, score and box of each object; the box around its mask, if it has one."""
    from sam_model.masks.boxes import box_from_mask

    if results.boxes is None:
        return []
    arrays = results.boxes.numpy()
    boxes = arrays.xyxy.tolist()
    for index, lengths in enumerate(results.run_lengths):
        boxes[index] = list(box_from_mask(lengths.mask) or (0.0, 0.0, 0.0, 0.0))
    labels = [results.names[int(class_id)] for class_id in arrays.cls]
    return list(zip(labels, map(float, arrays.conf), boxes, strict=True))
