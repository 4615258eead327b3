"""`YOLO` and `FastSAM` for scripts: a model of a name or a file, called on a picture.

The weights of Ultralytics, of both, are under the AGPL-3.0.
"""

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
from sam_model.yolo.fast_sam import FastSamSegmenter, Picked


@dataclass(frozen=True, eq=False)
class DetectionResults:
    """The N objects that were found in one picture, the surest first."""

    image: Image  # RGB uint8 (H, W, 3), the source
    boxes: Boxes  # (N, 4) in pixels: x_min, y_min, x_max, y_max
    scores: NDArray[np.float32]  # (N,)
    class_ids: NDArray[np.intp]  # (N,)
    class_names: tuple[str, ...]  # N of them
    masks: NDArray[np.bool_] | None  # (N, H, W); None where the model makes none

    def __len__(self) -> int:
        return len(self.scores)


class YOLO:
    """A detector that is called on pictures; remembers none of them."""

    def __init__(self, name_or_path: str | os.PathLike[str] = "yolov8x.pt", device: str = "cpu") -> None:
        """Load a model.

        Args:
            name_or_path: of the catalogue (`yolov8n`, `yolov8n-seg.pt`, ...), or the path of an Ultralytics file.
            device: `cpu`, `cuda`, `cuda:1`, `mps` or `auto`.

        Raises:
            ValueError: no such model or device.
            WeightsError: its weights are not here and cannot be fetched, or are not what they should be.
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
        """The objects in a picture.

        Args:
            source: path of a picture file, Pillow image, or array.
            conf: 0..1; a score must be above it.
            iou: 0..1; of two boxes that overlap by more the surer one stays.
            imgsz: pixels of the longer side that the network sees, a multiple of 32; 640 where None.
            classes: ids or names of the only classes that are wanted.
            max_det: number of objects that are kept.
            agnostic_nms: boxes of different classes suppress each other, too.
            image_format: order of colours where `source` is an array.

        Raises:
            ValueError: a picture or parameter that makes no sense, or an unknown class.
        """
        wanted = class_ids_called(classes, self.detector.class_names)
        image = read_image(source, image_format)
        more: dict[str, Any] = {}
        if isinstance(self.detector, YoloDetector):
            more = {"is_class_agnostic": agnostic_nms, "image_size": imgsz}
        elif agnostic_nms or imgsz is not None:
            raise ValueError(f"agnostic_nms and imgsz are not for the detector {self.detector.name}")
        found = self.detector.detect(image, score_threshold=conf, iou_threshold=iou, max_detections=max_det, **more)
        return _detection_results(image, [one for one in found if one.class_id in wanted])

    predict = __call__


class FastSAM:
    """FastSAM, called on pictures with prompts, or without for everything in them."""

    def __init__(self, name_or_path: str | os.PathLike[str] = "FastSAM-s.pt", device: str = "cpu") -> None:
        """Load a model.

        Args:
            name_or_path: `fastsam_s`, `FastSAM-x.pt`, ..., or the path of a YOLOv8 for segmentation.
            device: `cpu`, `cuda`, `cuda:1`, `mps` or `auto`.

        Raises:
            ValueError: no such model or device, or it is no FastSAM.
            WeightsError: its weights are not here and cannot be fetched, or are not what they should be.
        """
        segmenter = load_segmenter(str(name_or_path), device)
        if not isinstance(segmenter, FastSamSegmenter):
            raise ValueError(f"model {str(name_or_path)!r} is no FastSAM; use sam_model.SAM or load_segmenter")
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
        """The masks that the prompts pick, one each; everything where there are none.

        Of several masks at a point this is the surest; Ultralytics gives all of them.

        A prompt that picks none has an empty mask of score 0 and class id -1.

        Args:
            source: path of a picture file, Pillow image, or array.
            points: clicks in pixels, x before y: (2,), (P, 2) or (P, N, 2).
            labels: 1 on the object, 0 beside it, nested once less than `points`.
            bboxes: boxes (x_min, y_min, x_max, y_max): (4,) or (P, 4).
            texts: names of classes that the model knows: only objects of these are found. FastSAM's own weights know
                one, `object`.
            conf: 0..1; a score must be above it.
            iou: 0..1; of two boxes that overlap by more the surer one stays.
            imgsz: pixels of the longer side that the network sees, a multiple of 32.
            image_format: order of colours where `source` is an array.

        Raises:
            ValueError: a picture, prompt or parameter that makes no sense, or an unknown class.
        """
        detector = self.segmenter.detector
        names = [texts] if isinstance(texts, str) else texts
        wanted = class_ids_called(names, detector.class_names)
        image = read_image(source, image_format)
        embedding = self.segmenter.everything(image, conf, iou, imgsz, wanted)
        if points is None and labels is None and bboxes is None:
            picked = [Picked((one,)) for one in embedding.found]
        else:
            picked = self.segmenter.pick(embedding, prompts_from_arrays(points, labels, bboxes))
        return _detection_results(image, [_detection(one, image, detector.class_names) for one in picked])

    predict = __call__


def class_ids_called(classes: Sequence[int | str] | None, class_names: Sequence[str]) -> set[int]:
    """The ids of classes that are named or numbered; all where None.

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
            raise ValueError(f"class {one!r} is unknown; known: {', '.join(class_names)}")
    return ids


def _detection(picked: Picked, image: Image, class_names: Sequence[str]) -> Detection:
    found = picked.scored_mask((image.shape[0], image.shape[1]))
    box = box_from_mask(found.mask) or (0.0, 0.0, 0.0, 0.0)
    name = class_names[picked.class_id] if picked.parts else ""
    return Detection(box, found.score, picked.class_id, name, found.mask)


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
