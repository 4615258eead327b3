"""Results of a call: one `Results` per image, with the interface of Ultralytics' class of that name.

Source of names and values: Ultralytics 8.4's documentation, "Results". Colours are BGR, as in OpenCV.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from torch import Tensor

from sam_model.masks.coco_rle import RunLengths
from sam_model.masks.polygons import Polygon, polygons_from_mask
from sam_model.scripting.boxes import Boxes
from sam_model.scripting.label_studio import EncodeMask, Tags, prediction
from sam_model.scripting.masks import EncodedMasks, Masks
from sam_model.scripting.plotting import PlotStyle, draw_results
from sam_model.scripting.saving import write_crops, write_labels
from sam_model.scripting.tables import csv_table, data_frame, object_rows
from sam_model.scripting.tensors import Array, Index, chosen_rows
from sam_model.types import Image, Prompt

Speed = Mapping[str, float | None]
NO_SPEED: Speed = {"preprocess": None, "inference": None, "postprocess": None}


@dataclass(frozen=True, eq=False)
class MaskDetails:
    """What a segmenter knows about its N masks, beyond what Ultralytics' results hold."""

    model: str = ""  # name of the model
    prompts: tuple[Prompt, ...] = ()  # empty if everything was segmented
    low_res_logits: NDArray[np.float32] | None = None  # (N, 256, 256), can be passed as `masks`
    stability_scores: NDArray[np.float32] | None = None  # (N,) in 0..1

    def chosen(self, rows: NDArray[np.intp]) -> "MaskDetails":
        """Return the details of some of the masks."""
        logits, stability = self.low_res_logits, self.stability_scores
        return replace(
            self,
            low_res_logits=None if logits is None else logits[rows],
            stability_scores=None if stability is None else stability[rows],
        )


class Results:
    """The N objects of one image: boxes with scores and classes, and masks if the model has them.

    `len(results)` is N. `results[i]` and iteration return `Results` with only the chosen objects.
    """

    probs = keypoints = obb = semantic_mask = depth = None  # no model here has them

    def __init__(
        self,
        orig_img: Image,
        path: str,
        names: dict[int, str],
        boxes: Array | None = None,
        masks: Array | EncodedMasks | None = None,
        speed: Speed | None = None,
        details: MaskDetails | None = None,
    ) -> None:
        """Take the objects of an image.

        Args:
            orig_img: BGR uint8 (H, W, 3).
            path: path or URL of the image; `image0.jpg` if there is none.
            names: class names by class id.
            boxes: (N, 6): x_min, y_min, x_max, y_max, score, class; None if there are none.
            masks: (N, h, w), or run lengths; None if there are none.
            speed: milliseconds of `preprocess`, `inference` and `postprocess`.
            details: logits, stability and prompts of the masks.
        """
        self.orig_img = orig_img
        self.orig_shape: tuple[int, int] = (orig_img.shape[0], orig_img.shape[1])
        self.path = path
        self.names = names
        self.boxes = None if boxes is None else Boxes(boxes, self.orig_shape)
        self.masks = None if masks is None else Masks(masks, self.orig_shape)
        self.speed: dict[str, float | None] = dict(NO_SPEED if speed is None else speed)
        self.save_dir: str | None = None
        self.details = details or MaskDetails()

    def __len__(self) -> int:
        part = self.boxes if self.boxes is not None else self.masks
        return 0 if part is None else len(part)

    def __iter__(self) -> Iterator[Self]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: Index) -> Self:
        chosen = self._changed(lambda part: part[index])
        chosen.details = self.details.chosen(chosen_rows(index, len(self)))
        return chosen

    def __repr__(self) -> str:
        kinds = ", ".join(kind for kind in ("boxes", "masks") if getattr(self, kind) is not None)
        height, width = self.orig_shape
        return f"<Results of {self.path}, {width} x {height}: {len(self)} objects with {kinds or 'nothing'}>"

    def new(self) -> Self:
        """Return results of the same image without objects."""
        other = type(self)(self.orig_img, self.path, self.names, speed=self.speed)
        other.save_dir = self.save_dir
        other.details = MaskDetails(self.details.model, self.details.prompts)
        return other

    def update(self, boxes: Array | None = None, masks: Array | EncodedMasks | None = None) -> None:
        """Replace boxes (N, 6) or masks (N, h, w). Boxes are clipped to the image."""
        if boxes is not None:
            height, width = self.orig_shape
            clipped: Any = boxes.clone() if isinstance(boxes, Tensor) else boxes.copy()
            for column, limit in enumerate((width, height, width, height)):
                clipped[..., column] = clipped[..., column].clip(0, limit)
            self.boxes = Boxes(clipped, self.orig_shape)
        if masks is not None:
            self.masks = Masks(masks, self.orig_shape)

    def cpu(self) -> Self:
        """Return a copy in main memory."""
        return self._changed(lambda part: part.cpu())

    def numpy(self) -> Self:
        """Return a copy whose boxes and masks are arrays."""
        return self._changed(lambda part: part.numpy())

    def cuda(self) -> Self:
        """Return a copy on the CUDA device."""
        return self._changed(lambda part: part.cuda())

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Return a copy on another device or of another type, as `torch.Tensor.to`."""
        return self._changed(lambda part: part.to(*args, **kwargs))

    def _changed(self, change: Any) -> Self:
        other = self.new()
        other.boxes = None if self.boxes is None else change(self.boxes)
        other.masks = None if self.masks is None else change(self.masks)
        other.details = self.details
        return other

    @property
    def image(self) -> Image:
        """The image, RGB uint8 (H, W, 3)."""
        return np.ascontiguousarray(self.orig_img[..., ::-1])

    @property
    def run_lengths(self) -> tuple[RunLengths, ...]:
        """The N masks as run lengths at the image's size; empty if the model has no masks."""
        return () if self.masks is None else self.masks.run_lengths

    @property
    def scores(self) -> NDArray[np.float32]:
        """The N scores: predicted IoU of a segmenter's masks, confidence of a detector's objects."""
        if self.boxes is None:
            return np.zeros(0, np.float32)
        return np.asarray(self.boxes.numpy().conf, dtype=np.float32)

    @property
    def polygons(self) -> list[list[Polygon]]:
        """The exact polygons of each mask's regions, with their holes."""
        return [polygons_from_mask(lengths.mask) for lengths in self.run_lengths]

    @property
    def model(self) -> str:
        """The name of the model."""
        return self.details.model

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """The prompts; empty if there were none."""
        return self.details.prompts

    @property
    def low_res_logits(self) -> NDArray[np.float32] | None:
        """Logits (N, 256, 256) that can be passed as `masks` to the next call; None if the model has none."""
        return self.details.low_res_logits

    @property
    def stability_scores(self) -> NDArray[np.float32] | None:
        """The stability score of each mask, (N,) in 0..1; None if the model has none."""
        return self.details.stability_scores

    def plot(
        self,
        conf: bool = True,
        line_width: float | None = None,
        font_size: float | None = None,
        font: str = "Arial.ttf",
        pil: bool = False,
        img: Image | None = None,
        kpt_radius: int = 5,
        kpt_line: bool = True,
        labels: bool = True,
        boxes: bool = True,
        masks: bool = True,
        probs: bool = True,
        show: bool = False,
        save: bool = False,
        filename: str | os.PathLike[str] | None = None,
        color_mode: str = "class",
        txt_color: tuple[int, int, int] = (255, 255, 255),
    ) -> Any:
        """Return the image with masks, boxes and labels drawn over it, BGR uint8 (H, W, 3).

        Args:
            conf: write scores.
            line_width: of boxes, in pixels; None for a width that fits the image.
            font_size: in pixels; None for a size that fits the image.
            font: a TrueType file, or the name of an installed font; Pillow's own font if there is none.
            pil: return a Pillow image instead of an array.
            img: draw over this image of the same size, BGR, instead of a copy of the results' own.
            kpt_radius: without effect: there are no key points.
            kpt_line: without effect: there are no key points.
            labels: write class names.
            boxes: draw boxes.
            masks: draw masks.
            probs: without effect: there are no class probabilities.
            show: open the image in the system's image viewer.
            save: write the image to `filename`.
            filename: by default `results_` and the name of the image, in the current folder.
            color_mode: `class` or `instance`: one colour per class or per object.
            txt_color: RGB colour of the labels.

        Raises:
            ValueError: `color_mode` is unknown, or `img` has another size.
        """
        del kpt_radius, kpt_line, probs
        style = PlotStyle(conf, labels, boxes, masks, line_width, font_size, font, color_mode, txt_color)
        image = draw_results(self.orig_img if img is None else img, self.boxes, self.run_lengths, self.names, style)
        drawn = PIL.Image.fromarray(np.ascontiguousarray(image[..., ::-1]))
        if show:
            drawn.show(self.path)
        if save:
            drawn.save(filename or self._file_name())
        return drawn if pil else image

    def show(self, *args: Any, **kwargs: Any) -> None:
        """Open the plotted image in the system's image viewer; the arguments are those of `plot`."""
        self.plot(*args, **{**kwargs, "show": True})

    def save(self, filename: str | os.PathLike[str] | None = None, *args: Any, **kwargs: Any) -> str:
        """Write the plotted image to a file, and return its path; the other arguments are those of `plot`.

        Args:
            filename: its extension decides the format; by default `results_` and the name of the image.
            args: of `plot`.
            kwargs: of `plot`.

        Raises:
            ValueError: the extension is unknown.
            OSError: the file cannot be written.
        """
        path = str(filename or self._file_name())
        Path(path).absolute().parent.mkdir(parents=True, exist_ok=True)
        self.plot(*args, **{**kwargs, "save": True, "filename": path})
        return path

    def _file_name(self) -> str:
        return f"results_{Path(self.path).name}"

    def save_txt(self, txt_file: str | os.PathLike[str], save_conf: bool = False) -> str:
        """Append YOLO labels to a text file, one line per object, and return its path.

        A line is the class id and the outline of the mask, or centre and size of the box, as shares of the image's
        sides. Nothing is written if there are no objects.

        Args:
            txt_file: the file; its folder is made.
            save_conf: write the score at the end of the line.

        Raises:
            OSError: the file cannot be written.
        """
        write_labels(Path(txt_file), self.boxes, self.masks, save_conf)
        return str(txt_file)

    def save_crop(self, save_dir: str | os.PathLike[str], file_name: str | os.PathLike[str] = "im.jpg") -> None:
        """Write the part of the image in each box to `save_dir`/CLASS NAME/`file_name`; names get numbers.

        Raises:
            OSError: a file cannot be written.
        """
        if self.boxes is not None:
            write_crops(Path(save_dir), Path(file_name), self.orig_img, self.boxes, self.names)

    def verbose(self) -> str:
        """Return how many objects of each class there are, such as `4 persons, 1 bus, `."""
        if len(self) == 0:
            return "(no detections), "
        if self.boxes is None:
            return ""
        ids, counts = np.unique(self.boxes.numpy().cls.astype(int), return_counts=True)
        pairs = zip(ids.tolist(), counts.tolist(), strict=True)
        return "".join(f"{count} {self.names[one]}{'s' if count > 1 else ''}, " for one, count in pairs)

    def summary(self, normalize: bool = False, decimals: int = 5) -> list[dict[str, Any]]:
        """Return a dictionary per object: name, class, confidence, box, and the outline of its mask.

        Args:
            normalize: coordinates as shares of the image's sides instead of pixels.
            decimals: of all numbers.
        """
        return object_rows(self.boxes, self.masks, self.names, normalize, decimals)

    def to_df(self, normalize: bool = False, decimals: int = 5) -> Any:
        """Return `summary` as a Polars data frame.

        Raises:
            ImportError: Polars is not installed.
        """
        return data_frame(self.summary(normalize, decimals))

    def to_csv(self, normalize: bool = False, decimals: int = 5) -> str:
        """Return `summary` as CSV; boxes and outlines are Python literals."""
        return csv_table(self.summary(normalize, decimals))

    def to_json(self, normalize: bool = False, decimals: int = 5) -> str:
        """Return `summary` as JSON."""
        return json.dumps(self.summary(normalize, decimals))

    def to_label_studio(
        self,
        label: str | Sequence[str] = "Object",
        from_name: str = "label",
        to_name: str = "image",
        encode_mask: EncodeMask | None = None,
        tolerance: float = 1.0,
    ) -> dict[str, Any]:
        """Return a prediction in Label Studio's import format, for a task's `predictions`.

        With `encode_mask`, the regions are brush regions. Otherwise they are polygons, one per region of a mask,
        without holes.

        Args:
            label: of all regions, as in the labeling config, or one per mask.
            from_name: name of the config's control tag, `BrushLabels` or `PolygonLabels`.
            to_name: name of its `Image` tag.
            encode_mask: converts a mask (H, W) to the numbers of a brush region, such as
                `sam_backend.shapes.brush_rle.encode_mask`.
            tolerance: maximum deviation of a polygon from the mask's edge, in pixels.

        Raises:
            ValueError: the number of labels is not that of the masks.
        """
        labels = [label] * len(self) if isinstance(label, str) else list(label)
        tags = Tags(from_name, to_name)
        return prediction(self.run_lengths, self.scores, labels, self.model, tags, encode_mask, tolerance)
