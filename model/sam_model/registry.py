"""Loading of segmenters and detectors by name or file."""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam_model.interfaces import Detector, Segmenter, TextDetector
from sam_model.weights.catalog import CATALOG, find_weights
from sam_model.weights.folders import FOLDERS, find_folder

if TYPE_CHECKING:
    from sam_model.masks.cleaning import MaskCleaning
    from sam_model.runtime.torch_runtime import Device
    from sam_model.weights.download import OnProgress
    from sam_model.weights.store import WeightStore

MODEL_NAMES = ("classical", *(weights.model for weights in CATALOG if weights.role == "segmenter"))
DETECTOR_NAMES = (  # FastSAM is both: it detects all objects, and it answers prompts
    "classical",
    *(weights.model for weights in CATALOG if weights.role == "detector" or weights.model.startswith("fastsam")),
)

TEXT_DETECTOR_NAMES = tuple(folder.model for folder in FOLDERS if folder.finds_texts)


def load_segmenter(
    name_or_path: str,
    device: "Device" = "auto",
    dtype: str = "float32",
    *,
    runtime: str = "torch",
    cleaning: "MaskCleaning | None" = None,
    store: "WeightStore | None" = None,
    on_progress: "OnProgress | None" = None,
    reduces_images: bool = False,
) -> Segmenter[Any]:
    """Load a segmenter. `"classical"` needs no download and no PyTorch.

    The default runtime gives the exact masks of the reference implementations. `auto` is faster on x86 processors.

    Args:
        name_or_path: one of `MODEL_NAMES`, such as `mobile_sam` or `sam2.1_hiera_tiny`; one of their file names, such
            as `sam_b.pt` or `sam2.1_t.pt`; `sam3` or `edgetam`; the path of a checkpoint, whose architecture is
            recognised; or a folder of transformers with SAM 3 or EdgeTAM. An existing file takes precedence over a
            name. FastSAM's weights are licensed under AGPL-3.0, SAM 3's under the SAM License, the others under
            Apache-2.0.
        device: `cpu`, `cuda`, `cuda:1`, 0, `mps`, or `auto` for the best one of this machine.
        dtype: `float32`, `bfloat16`, `float16`, or `auto` for the precision that the runtime is fastest with.
        runtime: `torch`, `openvino`, or `auto` for the faster one; OpenVINO runs the models of the Segment Anything
            family on x86 processors, and converts each once. Converted networks are stored in the folder `openvino` of
            the weights' folder.
        cleaning: post-processing of the masks; none by default. The classical segmenter ignores it.
        store: the weights' folder; by default the one that the environment variables describe.
        on_progress: called while weights are downloaded.
        reduces_images: whether SAM's `embed_reduced` takes images that were decoded to a part of their size.

    Raises:
        ValueError: the model, device, precision or runtime is unknown, or OpenVINO cannot be used.
        WeightsError: the weights are missing and cannot be downloaded, or the file is not what it should be.
    """
    if name_or_path == "classical":
        from sam_model.classical.segmenter import ClassicalSegmenter

        return ClassicalSegmenter()
    folder = model_folder(name_or_path, store, on_progress)
    if folder is not None:
        return _segmenter_of_folder(folder, device, dtype, runtime, cleaning, reduces_images)
    path = checkpoint_path(name_or_path, store, on_progress)
    # PyTorch takes seconds to import, so it is imported only when a model needs it
    if is_ultralytics_file(path):
        from sam_model.yolo.checkpoint import load_yolo
        from sam_model.yolo.fast_sam import FastSamSegmenter

        return FastSamSegmenter(
            load_yolo(path),
            device,
            dtype,
            cleaning=cleaning,
            runtime=runtime,
            converted_dir=_store(store).converted_folder,
        )
    from sam_model.sam.segmenter import SamSegmenter
    from sam_model.sam_checkpoints import load_sam

    model = load_sam(path)
    return SamSegmenter(
        model,
        model.name,
        device,
        dtype,
        cleaning,
        runtime=runtime,
        converted_dir=_store(store).converted_folder,
        reduces_images=reduces_images,
    )


def _segmenter_of_folder(
    folder: Path, device: "Device", dtype: str, runtime: str, cleaning: "MaskCleaning | None", reduces_images: bool
) -> Segmenter[Any]:
    """Load a folder of transformers. PyTorch runs it, since its networks are not converted for OpenVINO."""
    if runtime == "openvino":
        raise ValueError(f"runtime 'openvino' cannot run {folder.name}, a model of transformers; possible: torch, auto")
    from sam_model.sam.segmenter import SamSegmenter
    from sam_model.transformers_models.loading import load_network_of

    network = load_network_of(folder)
    return SamSegmenter(network, folder.name, device, dtype, cleaning, runtime="torch", reduces_images=reduces_images)


def load_detector(
    name_or_path: str,
    device: "Device" = "auto",
    *,
    image_size: int | None = None,
    dtype: str = "float32",
    runtime: str = "torch",
    store: "WeightStore | None" = None,
    on_progress: "OnProgress | None" = None,
) -> Detector:
    """Load a detector. `"classical"` detects people and faces and needs no weights and no PyTorch.

    Args:
        name_or_path: `classical`, `yolov8n` to `yolov8x`, `yolov8n-seg`, `yolov8s-seg`, `fastsam_s`, one of their file
            names such as `yolov8x.pt`, or the path of an Ultralytics file or an ONNX file (YOLOv8, YOLO11, YOLOX,
            RT-DETR). An existing file takes precedence over a name. The published weights of Ultralytics are licensed
            under AGPL-3.0.
        device: `cpu`, `cuda`, `cuda:1`, 0, `mps`, or `auto` for the best one of this machine.
        image_size: length of the longer side of the input of a YOLO in pixels, a multiple of 32; None for 640.
        dtype: of a YOLO, as for `load_segmenter`.
        runtime: of a YOLO, as for `load_segmenter`.
        store: the weights' folder; by default the one that the environment variables describe.
        on_progress: called while weights are downloaded.

    Raises:
        ValueError: the detector or device is unknown, or the detector has no image size to choose.
        WeightsError: the weights are missing and cannot be downloaded, or the file is not what it should be.
    """
    if name_or_path == "classical":
        _check_no_image_size(image_size, "the classical detector")
        from sam_model.classical.detectors import ClassicalDetector

        return ClassicalDetector()
    if find_folder(name_or_path) is not None or (name_or_path and Path(name_or_path).expanduser().is_dir()):
        raise ValueError(
            f"{name_or_path!r} is a model of transformers, which finds what words describe; give the words"
        )
    path = checkpoint_path(name_or_path, store, on_progress, DETECTOR_NAMES)
    if path.suffix == ".onnx":
        _check_no_image_size(image_size, f"the ONNX file {path.name}")
        from sam_model.detectors.onnx import OnnxDetector

        return OnnxDetector(path, device)
    from sam_model.yolo.checkpoint import load_yolo
    from sam_model.yolo.detector import IMAGE_SIZE, YoloDetector

    size, folder = image_size or IMAGE_SIZE, _store(store).converted_folder
    return YoloDetector(load_yolo(path), device, dtype, size, runtime=runtime, converted_dir=folder)


def _check_no_image_size(image_size: int | None, what: str) -> None:
    if image_size is not None:
        raise ValueError(f"image size {image_size}: {what} has a fixed one")


def load_text_detector(
    name_or_path: str, device: "Device" = "auto", *, store: "WeightStore | None" = None
) -> TextDetector:
    """Load a text detector from a folder, or any detector, which then finds its own class names only.

    Args:
        name_or_path: one of `TEXT_DETECTOR_NAMES`, such as `owlv2_base`; a folder of transformers with OWLv2, Grounding
            DINO, MM-Grounding-DINO, LLMDet or SAM 3; or a name or path for `load_detector`.
        device: `cpu`, `cuda`, `cuda:1`, 0, `mps`, or `auto` for the best one of this machine.
        store: the weights' folder; by default the one that the environment variables describe.

    Raises:
        ValueError: the detector or device is unknown.
        WeightsError: the weights are missing and cannot be downloaded, or the file is not what it should be.
    """
    from sam_model.detectors.text import ClassNameDetector

    folder = model_folder(name_or_path, store)
    if folder is not None:
        from sam_model.transformers_models.loading import load_text_detector_of

        return load_text_detector_of(folder, device)
    return ClassNameDetector(load_detector(name_or_path, device, store=store))


def model_folder(
    name_or_path: str, store: "WeightStore | None" = None, on_progress: "OnProgress | None" = None
) -> Path | None:
    """Return the folder of a model of transformers, downloaded if it is missing; None if the model is no folder.

    Raises:
        WeightsError: the weights are missing and cannot be downloaded, or have another hash.
    """
    known = find_folder(name_or_path)
    if known is not None:
        from sam_model.weights.folder_store import fetch_folder

        return fetch_folder(_store(store), known, on_progress)
    path = Path(name_or_path).expanduser()
    is_name = any(name_or_path in weights.names for weights in CATALOG)
    return path if name_or_path and path.is_dir() and not is_name else None


def is_ultralytics_file(path: Path) -> bool:
    """Return whether a file is a pickled Ultralytics model: search it for a name, and execute nothing."""
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
    """Return the path of a model's weights; download them if they are missing.

    Raises:
        ValueError: the name is neither a file nor a known model.
        WeightsError: the weights are missing and cannot be downloaded, or have another hash.
    """
    path = Path(name_or_path).expanduser()
    has_folder_or_suffix = path.suffix or path.name != name_or_path  # "sam_b" alone is never a file
    if has_folder_or_suffix and path.is_file():
        return path
    try:
        weights = find_weights(name_or_path)
    except ValueError:
        names = ", ".join(known)
        raise ValueError(f"unknown model {name_or_path!r}: neither a file nor one of {names}") from None
    if weights.model not in known:
        raise ValueError(f"model {name_or_path!r} cannot be used here; possible models: {', '.join(known)}")
    return _store(store).fetch(weights, on_progress)


def _store(store: "WeightStore | None") -> "WeightStore":
    """Return a store of weights, by default the one that the environment variables describe."""
    from sam_model.weights.store import store_from_env

    return store or store_from_env(os.environ)
