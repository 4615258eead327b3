"""Model name or file -> a segmenter that is ready to work."""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam_model.interfaces import Detector, Segmenter, TextDetector
from sam_model.weights.catalog import CATALOG, find_weights

if TYPE_CHECKING:
    from sam_model.masks.cleaning import MaskCleaning
    from sam_model.weights.download import OnProgress
    from sam_model.weights.store import WeightStore

MODEL_NAMES = ("classical", *(weights.model for weights in CATALOG if weights.role == "segmenter"))
DETECTOR_NAMES = (  # FastSAM finds everything, and masks answer prompts: it is both
    "classical",
    *(weights.model for weights in CATALOG if weights.role == "detector" or weights.model.startswith("fastsam")),
)


def load_segmenter(
    name_or_path: str,
    device: str = "cpu",
    dtype: str = "float32",
    *,
    cleaning: "MaskCleaning | None" = None,
    store: "WeightStore | None" = None,
    on_progress: "OnProgress | None" = None,
) -> Segmenter[Any]:
    """The segmenter called `name_or_path`; `"classical"` needs no weights and no PyTorch.

    Args:
        name_or_path: `classical`, `mobile_sam`, `sam_b`, `sam_l`, `sam_h`, `fastsam_s`, `fastsam_x`, a file name of
            theirs such as `sam_b.pt`, or the path of a checkpoint, whose architecture is recognised. A file that is
            there goes before a name. FastSAM's weights are under the AGPL-3.0, the others under Apache-2.0.
        device: `cpu`, `cuda`, `cuda:1`, `mps` or `auto`.
        dtype: `float32`, `bfloat16` or `float16`.
        cleaning: what is done to the masks afterwards; nothing by default.
        store: where weights lie; by default the one that the environment describes.
        on_progress: called while weights are downloaded.

    Raises:
        ValueError: no model, device or precision of that name.
        WeightsError: the weights are not here and cannot be fetched, or are not what they should be.
    """
    if name_or_path == "classical":
        from sam_model.classical.segmenter import ClassicalSegmenter

        return ClassicalSegmenter()
    path = checkpoint_path(name_or_path, store, on_progress)
    # PyTorch takes seconds to import: not before there is something for it to do
    if is_of_ultralytics(path):
        from sam_model.yolo.checkpoint import load_yolo
        from sam_model.yolo.fast_sam import FastSamSegmenter

        return FastSamSegmenter(load_yolo(path), device, dtype, cleaning=cleaning)
    from sam_model.sam.checkpoint import load_sam
    from sam_model.sam.segmenter import SamSegmenter

    model = load_sam(path)
    return SamSegmenter(model, model.size.name, device, dtype, cleaning)


def load_detector(
    name_or_path: str,
    device: str = "cpu",
    *,
    store: "WeightStore | None" = None,
    on_progress: "OnProgress | None" = None,
) -> Detector:
    """The detector called `name_or_path`; `"classical"` (people and faces) needs no weights and no PyTorch.

    Args:
        name_or_path: `classical`, `yolov8n` to `yolov8x`, `yolov8n-seg`, `yolov8s-seg`, `fastsam_s`, a file name of
            theirs such as `yolov8x.pt`, or the path of a file that Ultralytics wrote or of an ONNX file (YOLOv8,
            YOLO11, YOLOX, RT-DETR). A file that is there goes before a name. Ultralytics' own weights are under the
            AGPL-3.0.
        device: `cpu`, `cuda`, `cuda:1`, `mps` or `auto`.
        store: where weights lie; by default the one that the environment describes.
        on_progress: called while weights are downloaded.

    Raises:
        ValueError: no detector or device of that name.
        WeightsError: the weights are not here and cannot be fetched, or are not what they should be.
    """
    if name_or_path == "classical":
        from sam_model.classical.detectors import ClassicalDetector

        return ClassicalDetector()
    path = checkpoint_path(name_or_path, store, on_progress, DETECTOR_NAMES)
    if path.suffix == ".onnx":
        from sam_model.detectors.onnx import OnnxDetector

        return OnnxDetector(path, device)
    from sam_model.yolo.checkpoint import load_yolo
    from sam_model.yolo.detector import YoloDetector

    return YoloDetector(load_yolo(path), device)


def load_text_detector(name_or_path: str, device: str = "cpu", *, store: "WeightStore | None" = None) -> TextDetector:
    """What finds things by words: an OWLv2 in a folder, or a detector, which knows its class names only.

    Args:
        name_or_path: a folder that `save_pretrained` of transformers wrote, or as of `load_detector`.
        device: `cpu`, `cuda`, `cuda:1`, `mps` or `auto`.
        store: where weights lie; by default the one that the environment describes.

    Raises:
        ValueError: no detector or device of that name.
        WeightsError: the weights are not here and cannot be fetched, or are not what they should be.
    """
    from sam_model.detectors.text import ClassNameDetector, OwlDetector

    folder = Path(name_or_path).expanduser()
    if folder.is_dir():
        return OwlDetector(folder, device)
    return ClassNameDetector(load_detector(name_or_path, device, store=store))


def is_of_ultralytics(path: Path) -> bool:
    """Whether a file holds a pickled model of Ultralytics; its names are looked for, nothing is run."""
    try:
        with zipfile.ZipFile(path) as archive:
            pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            return len(pickles) == 1 and b"ultralytics.nn.tasks" in archive.read(pickles[0])
    except (zipfile.BadZipFile, OSError):
        return False


def checkpoint_path(
    name_or_path: str,
    store: "WeightStore | None" = None,
    on_progress: "OnProgress | None" = None,
    known: Sequence[str] = MODEL_NAMES,
) -> Path:
    """The file with a model's weights, downloaded if need be.

    Raises:
        ValueError: neither a file nor a model of that name.
        WeightsError: the weights are not here and cannot be fetched, or have another hash.
    """
    path = Path(name_or_path).expanduser()
    has_folder_or_suffix = path.suffix or path.name != name_or_path  # "sam_b" alone is never a file
    if has_folder_or_suffix and path.is_file():
        return path
    try:
        weights = find_weights(name_or_path)
    except ValueError:
        names = ", ".join(known)
        raise ValueError(f"model {name_or_path!r} is neither a file nor a model; known models: {names}") from None
    if weights.model not in known:
        raise ValueError(f"model {name_or_path!r} is of another kind; here can be: {', '.join(known)}")
    from sam_model.weights.store import store_from_env

    return (store or store_from_env(os.environ)).fetch(weights, on_progress)
