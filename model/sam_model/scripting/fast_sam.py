"""`FastSAM` for scripts: the masks that prompts select, or all masks. The weights are licensed under AGPL-3.0.

The selection is that of Ultralytics 8.4: the results are the objects that any prompt selects, in the order of their
scores. A box selects the mask with the largest IoU. Points select all masks that contain a positive point and no
negative one.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam_model.images.reader import ImageFormat
from sam_model.masks.coco_rle import RunLengths
from sam_model.registry import load_segmenter
from sam_model.runtime.torch_runtime import Device
from sam_model.scripting.boxes import Boxes
from sam_model.scripting.call_arguments import split_arguments
from sam_model.scripting.detection import DetectionRequest, detect_objects
from sam_model.scripting.devices import device_name
from sam_model.scripting.prediction import predict_images
from sam_model.scripting.prompt_arrays import Nested, prompts_from_arrays
from sam_model.scripting.results import Results
from sam_model.scripting.script_model import ScriptModel, source_or_samples
from sam_model.scripting.sources import Source, SourceImage, open_source
from sam_model.scripting.yolo import DETECTION_ARGUMENTS, class_ids_from, detection_request, move_to
from sam_model.types import Box, Point
from sam_model.yolo.detector import YoloDetector
from sam_model.yolo.fast_sam import FastSamSegmenter

BORDER = 20  # pixels; a box that ends nearer to the image's border ends there, as in Ultralytics
WHOLE_IMAGE_IOU = 0.9  # a box with a larger IoU with the image is the whole image


class FastSAM(ScriptModel):
    """FastSAM for scripts: the masks that prompts select, or all masks of an image."""

    def __init__(self, model: str | os.PathLike[str] = "FastSAM-x.pt", device: Device = None) -> None:
        """Load a model.

        Args:
            model: `fastsam_s`, `FastSAM-x.pt`, ..., or the path of a YOLO segmentation model.
            device: `cpu`, `cuda`, `cuda:1`, `0`, `mps`; None for the fastest device of this machine.

        Raises:
            ValueError: the model or device is unknown, or the model is not a FastSAM.
            WeightsError: the weights are missing and cannot be downloaded, or the file is not what it should be.
        """
        name = "FastSAM-x.pt" if str(model) == "FastSAM.pt" else str(model)
        segmenter = load_segmenter(name, device_name(device))
        if not isinstance(segmenter, FastSamSegmenter):
            raise ValueError(f"model {name!r} is not a FastSAM; use sam_model.SAM or load_segmenter")
        self.segmenter = segmenter
        super().__init__(segmenter.detector)

    @property
    def detector(self) -> YoloDetector:
        """The network that finds all masks."""
        return self.segmenter.detector

    def __call__(
        self,
        source: Source | None = None,
        stream: bool = False,
        bboxes: Nested | None = None,
        points: Nested | None = None,
        labels: Nested | None = None,
        texts: str | Sequence[str] | None = None,
        *,
        image_format: ImageFormat = "BGR",
        **arguments: Any,
    ) -> Any:
        """Return the masks that the prompts select, or all masks if there are none.

        Args:
            source: path of an image, video or folder, URL, pattern, Pillow image, array, tensor, or a list of these;
                None for this package's sample images.
            stream: return a generator of `Results` instead of a list.
            bboxes: boxes (x_min, y_min, x_max, y_max): (4,) or (P, 4).
            points: points in pixels, x before y: (2,) or (N, 2). All belong to one selection.
            labels: 1 on the object, 0 beside it: (N,).
            texts: class names of the model; only objects of these classes are selected. FastSAM's own weights have one
                class, `object`. Ultralytics compares texts and masks with CLIP, which is not part of this package; use
                `SAM(...)(source, text=...)` with a detector for other texts.
            image_format: colour order of arrays.
            arguments: `conf` (0.25), `iou` (0.7), `imgsz` (1024), and the others of `YOLO`.

        Raises:
            ValueError: an image, prompt or argument is invalid, or a text is not a class name.
        """
        output, others = split_arguments(arguments, "FastSAM", {}, DETECTION_ARGUMENTS)
        move_to(self.segmenter, others)
        request = detection_request(others, self.detector, conf=0.25, iou=0.7)
        selection = Selection(
            boxes=_boxes(bboxes),
            points=_points(points, labels),
            class_ids=_class_ids(texts, self.detector.class_names),
        )
        predict = partial(select_objects, self.detector, request=request, selection=selection)
        return predict_images(open_source(source_or_samples(source), image_format), predict, output, "segment", stream)

    predict = __call__


@dataclass(frozen=True)
class Selection:
    """The prompts of a call; all None to select everything."""

    boxes: tuple[Box, ...] | None = None  # x_min, y_min, x_max, y_max in pixels
    points: tuple[Point, ...] | None = None
    class_ids: frozenset[int] | None = None

    @property
    def is_everything(self) -> bool:
        """Return whether there are no prompts."""
        return self.boxes is None and self.points is None and self.class_ids is None


def select_objects(
    detector: YoloDetector, image: SourceImage, request: DetectionRequest, selection: Selection
) -> Results:
    """Return the objects of an image that prompts select, highest-scoring first."""
    results = detect_objects(detector, image, request)
    assert results.boxes is not None
    results.boxes = Boxes(_with_borders(results.boxes.data, results.orig_shape), results.orig_shape)
    if selection.is_everything or not len(results):
        return results
    chosen = np.zeros(len(results), dtype=bool)
    masks = results.run_lengths
    for box in selection.boxes or ():
        overlaps = [_box_iou(one, box) for one in masks]
        if max(overlaps) > 0:
            chosen[int(np.argmax(overlaps))] = True
    if selection.points is not None:
        chosen |= _selected_by_points(masks, selection.points)
    if selection.class_ids is not None:
        chosen |= np.isin(results.boxes.numpy().cls.astype(int), list(selection.class_ids))
    return results[chosen]


def _with_borders(rows: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Return boxes (N, 6) of which those that end near the image's border end there."""
    height, width = image_size
    low, high = rows[:, :2], rows[:, 2:4]
    limit = rows.new_tensor([width, height])
    low = torch.where(low < BORDER, 0, low)
    high = torch.where(high > limit - BORDER, limit, high)
    share = (high - low).prod(dim=1, keepdim=True) / (width * height)  # the IoU with the image
    low = torch.where(share > WHOLE_IMAGE_IOU, 0, low)
    high = torch.where(share > WHOLE_IMAGE_IOU, limit, high)
    return torch.cat([low, high, rows[:, 4:]], dim=1)


def _selected_by_points(masks: Sequence[RunLengths], points: Sequence[Point]) -> NDArray[np.bool_]:
    """Return which masks (N,) contain a positive point and no negative one; negative points alone only exclude."""
    inside = np.array([[mask.contains(point.x, point.y) for point in points] for mask in masks])
    is_positive = np.array([point.is_positive for point in points])
    is_excluded = np.any(inside[:, ~is_positive], axis=1)
    is_wanted = np.any(inside[:, is_positive], axis=1) if is_positive.any() else ~is_excluded
    return np.asarray(is_wanted & ~is_excluded)


def _box_iou(mask: RunLengths, box: Box) -> float:
    """Return the IoU of a mask and a box, whose edges are cut to whole pixels of the image."""
    height, width = mask.size
    x_min, x_max = (min(max(int(edge), 0), width) for edge in (box[0], box[2]))
    y_min, y_max = (min(max(int(edge), 0), height) for edge in (box[1], box[3]))
    shared = np.count_nonzero(mask.mask[y_min:y_max, x_min:x_max])
    return shared / max(1, (x_max - x_min) * (y_max - y_min) + mask.area - shared)


def _boxes(bboxes: Nested | None) -> tuple[Box, ...] | None:
    return None if bboxes is None else tuple(one.box for one in prompts_from_arrays(bboxes=bboxes) if one.box)


def _points(points: Nested | None, labels: Nested | None) -> tuple[Point, ...] | None:
    if points is None and labels is None:
        return None
    return tuple(point for prompt in prompts_from_arrays(points, labels) for point in prompt.points)


def _class_ids(texts: str | Sequence[str] | None, class_names: Sequence[str]) -> frozenset[int] | None:
    if texts is None:
        return None
    return frozenset(class_ids_from([texts] if isinstance(texts, str) else texts, class_names))
