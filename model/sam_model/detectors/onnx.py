"""Detectors in ONNX files, run by ONNX Runtime (extra `[onnx]`).

The file's inputs and outputs show which kind of detector it is:

- YOLOv5u, YOLOv8, YOLO11, YOLO26: (1, 4 + classes, A), the centre and sides in input pixels and the class scores; with
  masks also 32 coefficients, and the prototypes (1, 32, h, w); with poses also key points, which are not used; with
  rotated boxes also the angle, and then an object's box is the smallest upright one around it
- the same, exported without or with suppression in the file: (1, D, 6), the corners, score and class; with masks also
  the coefficients
- YOLOX: (1, A, 5 + classes), the centre and sides in cells or in pixels, the objectness and the class scores
- RT-DETR of Ultralytics: (1, Q, 4 + classes), the centre and sides as shares of the image, which is stretched
- RT-DETR of its authors: labels (1, Q), boxes (1, Q, 4) as corners in pixels, scores (1, Q); the image's size is an
  input

A is the number of cells of three maps with strides 8, 16 and 32, Q the number of queries. Class names come from the
file's metadata (`names`, as Ultralytics writes them); without metadata the classes are numbered.

Sources: YOLOX, arXiv:2107.08430, and the description of its ONNX demo (Apache-2.0); RT-DETR, arXiv:2304.08069.
"""

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from sam_model.runtime.torch_runtime import Device
from sam_model.types import Detection, Image
from sam_model.weights.errors import BrokenWeightsError
from sam_model.weights.foreign_files import ONNX, foreign_kind
from sam_model.weights.store import sha256_of
from sam_model.yolo.decode import Objects, decode
from sam_model.yolo.detector import IMAGE_SIZE, check_arguments, detections_of
from sam_model.yolo.heads import RawDetections, cell_centres
from sam_model.yolo.letterbox import Letterbox, letterbox_of_size
from sam_model.yolo.masks import masks_of
from sam_model.yolo.sizes import PROTOTYPES, STRIDES

if TYPE_CHECKING:
    import onnxruntime

Floats = NDArray[np.float32]
MAX_OFFSET = 64  # cells; if a YOLOX centre is larger, it is in pixels: the file was exported with decoding
COCO_CLASSES = 80  # the default, since most such files are trained on COCO
CUDA = "CUDAExecutionProvider"
TASKS = ("detect", "segment", "pose", "obb")  # of Ultralytics' exports; all of them find boxes
DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxDetector:
    """A detector in an ONNX file, as a `sam_model.interfaces.Detector`; threads may share one."""

    def __init__(self, path: Path, device: Device = "auto") -> None:
        """Read a file, and run it once on an empty image to see its outputs.

        Args:
            path: of the file.
            device: `cpu`; `cuda`, `cuda:1` or 1 if ONNX Runtime for GPUs is installed; `auto` for the best one.

        Raises:
            ValueError: the device is unknown.
            BrokenWeightsError: ONNX Runtime is not installed, or the file is not a known detector.
        """
        self._session = _session(path, device)
        inputs = self._session.get_inputs()
        metadata = self._session.get_modelmeta().custom_metadata_map
        if inputs[0].type not in DTYPES or len(inputs[0].shape) != 4:
            raise BrokenWeightsError(
                f"{path.name} has an input of {inputs[0].type} {inputs[0].shape}; needed: images (B, 3, H, W)"
            )
        self._dtype = DTYPES[inputs[0].type]
        self._names = tuple(one.name for one in inputs)
        self._size = _input_size(inputs[0].shape, metadata)
        outputs = self._run(np.zeros((*self._size, 3), dtype=np.uint8), (1, 1), 1.0)
        names = _names_in(metadata.get("names"))
        self.kind, classes = _kind(outputs, len(inputs), self._size, metadata, names, path.name)
        self.class_names = _class_names(names, classes, path.name)
        self.has_masks = self.kind in ("yolo", "yolo-rows") and len(outputs) == 2
        self.name = path.stem
        self.fingerprint = f"{self.name}-{sha256_of(path)[:12]}-{self._size[0]}x{self._size[1]}"

    def detect(
        self, image: Image, *, score_threshold: float = 0.25, iou_threshold: float = 0.7, max_detections: int = 300
    ) -> list[Detection]:
        """Detect objects in an RGB uint8 image (H, W, 3); return them highest-scoring first.

        RT-DETR returns no duplicates, nor does a file that suppresses them itself, so `iou_threshold` has no effect on
        them.

        Raises:
            ValueError: `image` is not RGB uint8, or a threshold is outside 0..1.
        """
        check_arguments(image, score_threshold, iou_threshold, max_detections)
        image_size = (image.shape[0], image.shape[1])
        if self.kind.startswith("rtdetr"):
            stretched = np.asarray(cv2.resize(image, self._size[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
            outputs = self._run(stretched, image_size, 1 / 255)
            read = _objects_of_queries if self.kind == "rtdetr" else _objects_of_labels
            objects = read(outputs, image_size, score_threshold, max_detections)
            return detections_of(objects, self.class_names)
        frame = letterbox_of_size(image_size, self._size, is_centred=self.kind != "yolox")
        framed = frame.apply(image)
        if self.kind == "yolo-rows":
            objects = _objects_of_rows(self._run(framed, image_size, 1 / 255), frame, score_threshold, max_detections)
            return detections_of(objects, self.class_names, masks_of(objects, frame) if self.has_masks else None)
        if self.kind == "yolox":  # trained on BGR in 0..255, as OpenCV reads images
            raw = _raw_of_yolox(self._run(framed[..., ::-1], image_size, 1.0)[0], self._size)
        else:
            outputs = self._run(framed, image_size, 1 / 255)
            raw = _raw_of_yolo(outputs, len(self.class_names), is_rotated=self.kind == "yolo-obb")
        objects = decode(raw, frame, score_threshold, iou_threshold, max_detections)
        return detections_of(objects, self.class_names, masks_of(objects, frame) if self.has_masks else None)

    def _run(self, pixels: Image, image_size: tuple[int, int], factor: float) -> list[Any]:
        batch = (pixels.transpose(2, 0, 1)[None] * np.float32(factor)).astype(self._dtype)
        feed: dict[str, NDArray[Any]] = {self._names[0]: batch}
        if len(self._names) == 2:
            feed[self._names[1]] = np.array([image_size[::-1]], dtype=np.int64)  # width, height
        return list(self._session.run(None, feed))


def _session(path: Path, device: Device) -> "onnxruntime.InferenceSession":
    try:
        import onnxruntime
    except ImportError:
        raise BrokenWeightsError(
            f"{path.name} needs the package onnxruntime: pip install 'label-studio-sam[onnx]'"
        ) from None
    provider, provider_options = _provider(device, onnxruntime.get_available_providers())
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    try:
        return onnxruntime.InferenceSession(str(path), options, [provider], [provider_options])
    except Exception as error:  # noqa: BLE001 - its exceptions share no type of their own
        kind = foreign_kind(path)
        said = (str(error).strip().splitlines() or [type(error).__name__])[0].replace(str(path), path.name)
        reason = f"it is {kind}" if kind not in ("", ONNX) else said
        raise BrokenWeightsError(f"could not load the ONNX file {path.name}: {reason}") from None


def _provider(device: Device, available: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Return ONNX Runtime's name of a device, and its options."""
    name = "auto" if device in ("", None) else str(device).lower()
    kind, _, number = f"cuda:{name}".partition(":") if name.isdecimal() else name.partition(":")
    if kind == "cpu" or (kind == "auto" and CUDA not in available):
        return "CPUExecutionProvider", {}
    if kind not in ("auto", "cuda") or CUDA not in available:
        names = "'cpu', 'cuda'" if CUDA in available else "'cpu'"
        raise ValueError(f"device {device!r} is not available in ONNX Runtime; available: {names}")
    return CUDA, {"device_id": number or "0"}


def _input_size(shape: list[Any], metadata: dict[str, str]) -> tuple[int, int]:
    """Return (height, width) of the input; if the file leaves it open, the training's size."""
    height, width = shape[2:]
    if isinstance(height, int) and isinstance(width, int):
        return height, width
    size = _literal(metadata.get("imgsz"))
    if isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) for side in size):
        return size[0], size[1]
    return IMAGE_SIZE, IMAGE_SIZE


def _kind(
    outputs: list[Any],
    inputs: int,
    size: tuple[int, int],
    metadata: dict[str, str],
    names: tuple[str, ...],
    file: str,
) -> tuple[str, int]:
    """Return the kind of a detector with these outputs, and its number of classes; 0 if the outputs do not tell it."""
    shapes = [np.shape(output) for output in outputs]
    cells = sum((size[0] // stride) * (size[1] // stride) for stride in STRIDES)
    task = metadata.get("task", "detect")
    if task not in TASKS:
        raise BrokenWeightsError(
            f"{file} is a model of the task {task}, which finds no boxes; needed: one of {', '.join(TASKS)}"
        )
    has_rows = _has_rows(metadata) or len(names) not in (0, 2)  # or an RT-DETR with two classes
    match shapes:
        case [(1, rows, columns)] if columns == cells and rows > 4 + len(names) and task in ("pose", "obb") and names:
            return "yolo-obb" if task == "obb" else "yolo", len(names)
        case [(1, rows, columns)] if columns == cells and rows > 4:
            return "yolo", rows - 4
        case [(1, rows, columns), (1, count, _, _)] if columns == cells and count == PROTOTYPES < rows - 4:
            return "yolo", rows - 4 - PROTOTYPES
        case [(1, rows, columns)] if rows == cells and columns > 5:
            return "yolox", columns - 5
        case [(1, _, columns), (1, count, _, _)] if columns == 6 + count and count == PROTOTYPES:
            return "yolo-rows", 0
        case [(1, _, columns)] if (columns == 6 or task == "pose") and task != "obb" and has_rows:
            return "yolo-rows", 0
        case [(1, _, columns)] if columns > 4 and task == "detect":
            return "rtdetr", columns - 4
        case [(1, labels), (1, boxes, 4), (1, scores)] if inputs == 2 and labels == boxes == scores:
            return "rtdetr-labels", 0
    raise BrokenWeightsError(
        f"{file} has outputs of shapes {shapes}; known: those of YOLOv5u, YOLOv8, YOLO11, YOLO26, YOLOX, RT-DETR"
    )


def _has_rows(metadata: dict[str, str]) -> bool:
    """Return whether Ultralytics exported a detector whose output holds one row per object, duplicates removed."""
    options = _literal(metadata.get("args"))
    return metadata.get("end2end") == "True" or (isinstance(options, dict) and options.get("nms") is True)


def _names_in(text: str | None) -> tuple[str, ...]:
    """Return the class names in the metadata, which holds a dict or list as text; nothing if there are none."""
    names = _literal(text)
    if isinstance(names, dict) and sorted(names, key=str) == sorted(range(len(names)), key=str):
        names = [names[index] for index in range(len(names))]
    is_valid = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return tuple(names) if is_valid else ()


def _class_names(names: tuple[str, ...], classes: int, file: str) -> tuple[str, ...]:
    """Return the names by class id; numbered names if there are none."""
    if not names:
        return tuple(f"class {index}" for index in range(classes or COCO_CLASSES))
    if classes and len(names) != classes:
        raise BrokenWeightsError(f"{file} has {classes} classes and {len(names)} class names; needed: the same number")
    return names


def _literal(text: str | None) -> Any:
    """Parse a text that Ultralytics wrote with `str`; return None if it is something else."""
    try:
        return ast.literal_eval(text) if text else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _raw_of_yolo(outputs: list[Any], classes: int, *, is_rotated: bool = False) -> RawDetections:
    answer = torch.from_numpy(np.asarray(outputs[0], np.float32)).transpose(1, 2)  # (1, A, 4 + classes (+ 32))
    centres, sides, scores = answer[..., :2], answer[..., 2:4], answer[..., 4 : 4 + classes]
    if is_rotated:  # the sides of the upright box around it
        cos, sin = answer[..., -1:].cos().abs(), answer[..., -1:].sin().abs()
        sides = sides * cos + sides.flip(-1) * sin
    boxes = _corners(torch.cat([centres, sides], dim=-1))
    if len(outputs) == 1:
        return RawDetections(boxes, scores)
    return RawDetections(
        boxes, scores, answer[..., 4 + classes :], torch.from_numpy(np.asarray(outputs[1], np.float32))
    )


def _objects_of_rows(outputs: list[Any], frame: Letterbox, score_threshold: float, max_detections: int) -> Objects:
    rows = np.asarray(outputs[0][0], np.float32)  # (D, 6 (+ 32)): corners, score, class (, coefficients)
    order = np.argsort(-rows[:, 4], kind="stable")
    rows = rows[order[rows[order, 4] > score_threshold][:max_detections]]
    has_masks = len(outputs) == 2
    return Objects(
        boxes=frame.boxes_in_image(rows[:, :4]),
        scores=rows[:, 4],
        class_ids=rows[:, 5].astype(np.intp),
        coefficients=rows[:, 6:] if has_masks else None,
        prototypes=np.asarray(outputs[1][0], np.float32) if has_masks else None,
        input_boxes=rows[:, :4],
    )


def _raw_of_yolox(output: Any, size: tuple[int, int]) -> RawDetections:
    answer = torch.from_numpy(np.asarray(output, np.float32))
    boxes = answer[..., :4]
    if answer[..., :2].abs().max() <= MAX_OFFSET:
        maps = tuple(torch.empty(1, 1, size[0] // stride, size[1] // stride) for stride in STRIDES)
        centres, strides = cell_centres(maps)
        corners = centres.T - 0.5  # offsets are relative to a cell's corner
        boxes = torch.cat([boxes[..., :2] + corners, boxes[..., 2:].exp()], dim=2) * strides.T
    return RawDetections(_corners(boxes), answer[..., 4:5] * answer[..., 5:])


def _corners(boxes: torch.Tensor) -> torch.Tensor:
    """Convert centres and sides (..., 4) to corners."""
    centres, sides = boxes[..., :2], boxes[..., 2:]
    return torch.cat([centres - sides / 2, centres + sides / 2], dim=-1)


def _objects_of_queries(
    outputs: list[Any], image_size: tuple[int, int], score_threshold: float, max_detections: int
) -> Objects:
    answer = np.asarray(outputs[0][0], np.float32)  # (Q, 4 + classes)
    corners = _corners(torch.from_numpy(answer[:, :4])).numpy() * np.array(image_size[::-1] * 2, np.float32)
    return _highest_scoring(
        corners, answer[:, 4:].max(axis=1), answer[:, 4:].argmax(axis=1), image_size, score_threshold, max_detections
    )


def _objects_of_labels(
    outputs: list[Any], image_size: tuple[int, int], score_threshold: float, max_detections: int
) -> Objects:
    labels, boxes, scores = (np.asarray(output[0]) for output in outputs)
    return _highest_scoring(boxes, scores, labels, image_size, score_threshold, max_detections)


def _highest_scoring(
    boxes: NDArray[Any],
    scores: NDArray[Any],
    class_ids: NDArray[Any],
    image_size: tuple[int, int],
    score_threshold: float,
    max_detections: int,
) -> Objects:
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > score_threshold][:max_detections]
    inside = np.clip(boxes[order], 0, np.array(image_size[::-1] * 2)).astype(np.float32)
    return Objects(inside, scores[order].astype(np.float32), class_ids[order].astype(np.intp), None, None)
