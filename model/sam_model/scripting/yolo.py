"""`YOLO` and `FastSAM` for scripts. The published weights of both are licensed under AGPL-3.0."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_model.images.reader import ImageFormat, ImageSource, read_image
from sam_model.interfaces import Detector
from sam_model.masks.boxes import Boxes, box_from_mask
from sam_model.registry import load_detector, load_segmenter
from sam_model.scripting.prompt_arrays import Nested, prompts_from_arrays
from sam_model.types import Detection, Image
from sam_model.yolo.detector import YoloDetector
from sam_model.yolo.fast_sam import FastSamSegmenter, Selection


@dataclass(frozen=True, eq=False)
class DetectionResults:
    """The N objects of one image, highest-scoring first."""

    image: Image  # RGB uint8 (H, W, 3), the source image
    boxes: Boxes  # (N, 4) in pixels: x_min, y_min, x_max, y_max
    scores: NDArray[np.float32]  # (N,)
    class_ids: NDArray[np.intp]  # (N,)
    class_names: tuple[str, ...]  # N names
    masks: NDArray[np.bool_] | None  # (N, H, W); None if the model has no masks

    def __len__(self) -> int:
        return len(self.scores)


class YOLO:
    """A detector for scripts. It keeps no image between calls."""

    def __init__(self, name_or_path: str | os.PathLike[str] = "yolov8x.pt", device: str = "cpu") -> None:
        """Load a model.

        Args:
            name_or_path: a name from the catalogue (`yolov8n`, `yolov8n-seg.pt`, ...), or the path of an Ultralytics or
                ONNX file.
            device: `cpu`, `cuda`, `cuda:1`, `mps` or `auto`.

        Raises:
            ValueError: the model or device is unknown.
            WeightsError: the weights are missing and cannot be downloaded, or the file is not what it should be.
        """
        self.detector: Detector = load_detector(str(name_or_path), device)

    @property
    def names(self) -> dict[int, str]:
        """The class names by class id."""
        return dict(enumerate(self.detector.class_names))

    def __call__(
        self,
        source: ImageSource,
        conf: float = 0.25,
        iou: float = 0.7,
        imgsz: int | None = None,
        classes: Sequence[int | str] | None = None,
        max_det: int = 300,
        agnostic_nms: bool = False,
        image_format: ImageFormat = "BGR",
    ) -> DetectionResults:
        """Detect the objects of an image.

        Args:
            source: path of an image file, Pillow image, or array.
            conf: 0..1; detections need a higher score.
            iou: 0..1; of two boxes with a larger IoU, the highest-scoring one is kept.
            imgsz: length of the longer side of the network's input in pixels, a multiple of 32; None for 640.
            classes: ids or names of the wanted classes; None for all.
            max_det: maximum number of detections.
            agnostic_nms: apply `iou` also between boxes of different classes.
            image_format: colour order if `source` is an array.

        Raises:
            ValueError: an image or parameter is invalid, or a class is unknown.
        """
        wanted = class_ids_from(classes, self.detector.class_names)
        image = read_image(source, image_format)
        more: dict[str, Any] = {}
        if isinstance(self.detector, YoloDetector):
            more = {"is_class_agnostic": agnostic_nms, "image_size": imgsz}
        elif agnostic_nms or imgsz is not None:
            raise ValueError(f"the detector {self.detector.name} has no agnostic_nms and imgsz")
        found = self.detector.detect(image, score_threshold=conf, iou_threshold=iou, max_detections=max_det, **more)
        return _detection_results(image, [one for one in found if one.class_id in wanted])

    predict = __call__


class FastSAM:
    """FastSAM for scripts: the masks that prompts select, or all masks of an image."""

    def __init__(self, name_or_path: str | os.PathLike[str] = "FastSAM-s.pt", device: str = "cpu") -> None:
        """Load a model.

        Args:
            name_or_path: `fastsam_s`, `FastSAM-x.pt`, ..., or the path of a YOLOv8 segmentation model.
            device: `cpu`, `cuda`, `cuda:1`, `mps` or `auto`.

        Raises:
            ValueError: the model or device is unknown, or the model is not a FastSAM.
            WeightsError: the weights are missing and cannot be downloaded, or the file is not what it should be.
        """
        segmenter = load_segmenter(str(name_or_path), device)
        if not isinstance(segmenter, FastSamSegmenter):
            raise ValueError(f"model {str(name_or_path)!r} is not a FastSAM; use sam_model.SAM or load_segmenter")
        self.segmenter = segmenter

    def __call__(
        self,
        source: ImageSource,
        *,
        points: Nested | None = None,
        labels: Nested | None = None,
        bboxes: Nested | None = None,
        texts: str | Sequence[str] | None = None,
        conf: float = 0.4,
        iou: float = 0.9,
        imgsz: int = 1024,
        image_format: ImageFormat = "BGR",
    ) -> DetectionResults:
        """Return the mask that each prompt selects, or all masks if there are no prompts.

        If several masks contain a point, the highest-scoring one is returned; Ultralytics returns all of them. A prompt
        that selects nothing has an empty mask with score 0 and class id -1.

        Args:
            source: path of an image file, Pillow image, or array.
            points: points in pixels, x before y: (2,), (P, 2) or (P, N, 2).
            labels: 1 on the object, 0 beside it, nested one level less than `points`.
            bboxes: boxes (x_min, y_min, x_max, y_max): (4,) or (P, 4).
            texts: class names of the model; only objects of these classes are found. FastSAM's own weights have one
                class, `object`.
            conf: 0..1; masks need a higher score.
            iou: 0..1; of two boxes with a larger IoU, the highest-scoring one is kept.
            imgsz: length of the longer side of the network's input in pixels, a multiple of 32.
            image_format: colour order if `source` is an array.

        Raises:
            ValueError: an image, prompt or parameter is invalid, or a class is unknown.
        """
        detector = self.segmenter.detector
        names = [texts] if isinstance(texts, str) else texts
        wanted = class_ids_from(names, detector.class_names)
        image = read_image(source, image_format)
        embedding = self.segmenter.find_masks(image, conf, iou, imgsz, wanted)
        if points is None and labels is None and bboxes is None:
            selected = [Selection((mask,)) for mask in embedding.masks]
        else:
            selected = self.segmenter.select(embedding, prompts_from_arrays(points, labels, bboxes))
        return _detection_results(image, [_detection(one, image, detector.class_names) for one in selected])

    predict = __call__


def class_ids_from(classes: Sequence[int | str] | None, class_names: Sequence[str]) -> set[int]:
    """Return the ids of classes given by name or id; all ids if `classes` is None.

    Raises:
        ValueError: a class is unknown.
    """
    if classes is None:
        return set(range(len(class_names)))
    ids = set()
    for one in classes:
        if isinstance(one, str) and one in class_names:
            ids.add(class_names.index(one))
        elif not isinstance(one, str) and 0 <= one < len(class_names):
            ids.add(int(one))
        else:
            raise ValueError(f"unknown class {one!r}; known: {', '.join(class_names)}")
    return ids


def _detection(selection: Selection, image: Image, class_names: Sequence[str]) -> Detection:
    found = selection.scored_mask((image.shape[0], image.shape[1]))
    box = box_from_mask(found.mask) or (0.0, 0.0, 0.0, 0.0)
    name = class_names[selection.class_id] if selection.masks else ""
    return Detection(box, found.score, selection.class_id, name, found.mask)


def _detection_results(image: Image, found: Sequence[Detection]) -> DetectionResults:
    masks = [one.mask for one in found if one.mask is not None]
    return DetectionResults(
        image=image,
        boxes=np.array([one.box for one in found], dtype=np.float32).reshape(-1, 4),
        scores=np.array([one.score for one in found], dtype=np.float32),
        class_ids=np.array([one.class_id for one in found], dtype=np.intp),
        class_names=tuple(one.class_name for one in found),
        masks=np.stack(masks) if masks else None,
    )
