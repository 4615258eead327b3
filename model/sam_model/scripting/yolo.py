"""`YOLO` for scripts. The published weights are licensed under AGPL-3.0."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from sam_model.images.reader import ImageFormat
from sam_model.interfaces import Detector
from sam_model.registry import load_detector
from sam_model.runtime.torch_runtime import Device
from sam_model.scripting.call_arguments import check_half, image_size, share, split_arguments
from sam_model.scripting.detection import DetectionRequest, detect_objects
from sam_model.scripting.devices import device_name, move_model
from sam_model.scripting.prediction import predict_images
from sam_model.scripting.script_model import ScriptModel, source_or_samples
from sam_model.scripting.sources import Source, open_source
from sam_model.yolo.detector import YoloDetector

DETECTION_ARGUMENTS = frozenset(
    ["conf", "iou", "imgsz", "max_det", "classes", "agnostic_nms", "nms", "retina_masks", "half", "device"]
)


class YOLO(ScriptModel):
    """A detector for scripts. It keeps no image between calls."""

    def __init__(self, model: str | os.PathLike[str] = "yolov8x.pt", device: Device = None) -> None:
        """Load a model.

        Args:
            model: a name from the catalogue (`yolov8n`, `yolov8n-seg.pt`, ...), or the path of an Ultralytics or ONNX
                file.
            device: `cpu`, `cuda`, `cuda:1`, `0`, `mps`; None for the fastest device of this machine.

        Raises:
            ValueError: the model or device is unknown.
            WeightsError: the weights are missing and cannot be downloaded, or the file is not what it should be.
        """
        self.detector: Detector = load_detector(str(model), device_name(device))
        super().__init__(self.detector)

    def __call__(
        self, source: Source | None = None, stream: bool = False, *, image_format: ImageFormat = "BGR", **arguments: Any
    ) -> Any:
        """Detect the objects of each image.

        Args:
            source: path of an image, video or folder, URL, pattern, Pillow image, array, tensor, or a list of these;
                None for this package's sample images.
            stream: return a generator of `Results` instead of a list.
            image_format: colour order of arrays.
            arguments: `conf` (0.25), `iou` (0.7), `imgsz` (640), `max_det` (300), `classes` (ids or names),
                `agnostic_nms`, `nms` (False for YOLO26's head without suppression), `retina_masks`, `half`, `device`,
                and those of `OutputSettings`.

        Raises:
            ValueError: an image or argument is invalid, or a class is unknown.
        """
        output, others = split_arguments(arguments, "YOLO", {}, DETECTION_ARGUMENTS)
        move_to(self.detector, others)
        request = detection_request(others, self.detector, conf=0.25, iou=0.7)
        task = "segment" if getattr(self.detector, "has_masks", False) else "detect"
        detect = partial(detect_objects, self.detector, request=request)
        return predict_images(open_source(source_or_samples(source), image_format), detect, output, task, stream)

    predict = __call__


def move_to(model: Any, arguments: Mapping[str, Any]) -> None:
    """Move a model to the device of a call's arguments, if they have one.

    Raises:
        ValueError: the device is unknown or not available, or the model cannot be moved to it.
    """
    if arguments.get("device") is not None:
        move_model(model, arguments["device"])


def detection_request(arguments: Mapping[str, Any], detector: Detector, conf: float, iou: float) -> DetectionRequest:
    """Return the request of a call's arguments, with default values for `conf` and `iou`.

    Raises:
        ValueError: a value is out of range, or a class is unknown.
    """
    if isinstance(detector, YoloDetector):
        check_half(arguments.get("half", False), detector.device, detector.dtype)
    classes = arguments.get("classes")
    if isinstance(classes, int | str):
        classes = [classes]
    max_det = arguments.get("max_det", 300)
    if not isinstance(max_det, int) or max_det < 0:
        raise ValueError(f"max_det={max_det!r}; needed: a whole number, 0 or more")
    return DetectionRequest(
        conf=share("conf", arguments.get("conf", conf)),
        iou=share("iou", arguments.get("iou", iou)),
        max_det=max_det,
        class_ids=None if classes is None else frozenset(class_ids_from(classes, detector.class_names)),
        agnostic_nms=bool(arguments.get("agnostic_nms", False)),
        imgsz=image_size(arguments.get("imgsz")),
        retina_masks=bool(arguments.get("retina_masks", False)),
        one_to_one=arguments.get("nms") is False,
    )


def class_ids_from(classes: Sequence[int | str], class_names: Sequence[str]) -> set[int]:
    """Return the ids of classes given by name or id.

    Raises:
        ValueError: a class is unknown.
    """
    ids = set()
    for one in classes:
        if isinstance(one, str) and one in class_names:
            ids.add(class_names.index(one))
        elif not isinstance(one, str) and 0 <= one < len(class_names):
            ids.add(int(one))
        else:
            raise ValueError(f"unknown class {one!r}; known: {', '.join(class_names)}")
    return ids
