"""Prediction of an image with any model by name: SAM, FastSAM, YOLO, ONNX detectors, the classical segmenter.

The command line uses it. A prompt gets the mask that a click in Label Studio gets: SAM's highest-scoring one.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard, cast

import numpy as np

from sam_model.automatic_segmentation import propose_objects, segment_automatically
from sam_model.detectors.text import segment_texts
from sam_model.interfaces import Detector, Segmenter, TextDetector
from sam_model.registry import is_ultralytics_file, load_detector, load_segmenter
from sam_model.runtime.torch_runtime import Device
from sam_model.sam.automatic_mask_settings import automatic_mask_settings
from sam_model.sam.automatic_masks import segment_everything
from sam_model.sam.segmenter import SamSegmenter
from sam_model.scripting.detection import DetectionRequest, detect_objects
from sam_model.scripting.prediction import Stopwatch
from sam_model.scripting.results import Results
from sam_model.scripting.segmentation import FoundMask, masks_results, results_from_masks, text_results
from sam_model.scripting.sources import SourceImage
from sam_model.types import Image, Prompt
from sam_model.weights.catalog import find_weights
from sam_model.yolo.fast_sam import IOU_THRESHOLD, FastSamSegmenter

CONF = 0.25  # default of detectors


@dataclass(frozen=True)
class PredictionRequest:
    """What is asked of a model; everything in the image without prompts and texts."""

    prompts: tuple[Prompt, ...] = ()
    texts: tuple[str, ...] = ()  # descriptions of objects, or class names of a detector
    conf: float | None = None  # 0..1, minimum score; None for the model's default
    points_per_side: int | None = None  # of SAM's grid of points; None for 32
    crop_n_layers: int = 0  # layers of crops in which a SAM segments everything, too
    is_proposals: bool = False  # find as many objects as possible


def load_any_model(name_or_path: str, device: Device = None, dtype: str = "float32") -> Segmenter[Any] | Detector:
    """Load a segmenter or detector by name or path.

    A file of Ultralytics is a detector, unless it is called FastSAM.

    Raises:
        ValueError: the model, device or precision is unknown.
        WeightsError: the weights are missing and cannot be downloaded, or the file is not what it should be.
    """
    if _is_detector(name_or_path):
        return load_detector(name_or_path, device)
    return load_segmenter(name_or_path, device, dtype)


def _is_detector(name_or_path: str) -> bool:
    path = Path(name_or_path).expanduser()
    if path.suffix and path.is_file():
        return path.suffix == ".onnx" or (is_ultralytics_file(path) and "fastsam" not in path.name.lower())
    try:
        return find_weights(name_or_path).role == "detector"
    except ValueError:
        return False


def is_segmenter(model: Segmenter[Any] | Detector) -> TypeGuard[Segmenter[Any]]:
    """Return whether a model is a segmenter, not a detector."""
    return hasattr(model, "segment")


def predict_image(
    model: Segmenter[Any] | Detector,
    image: SourceImage,
    request: PredictionRequest,
    text_detector: TextDetector | None = None,
) -> Results:
    """Return what a model finds in an image.

    Args:
        model: a segmenter or detector.
        image: BGR.
        request: prompts, texts, or none for everything.
        text_detector: finds the boxes of texts; needed for texts and a segmenter.

    Raises:
        ValueError: a prompt is invalid for this image, or the model cannot do what the request asks for.
    """
    if not is_segmenter(model):
        return _detected(cast(Detector, model), image, request)
    rgb = np.ascontiguousarray(image.image[..., ::-1])
    if request.prompts:
        scored = model.segment(model.embed(rgb), request.prompts)
        least = request.conf or 0.0
        kept = [one for one in scored if one.score >= least]
        return results_from_masks(rgb, kept, request.prompts, model.name, image.path)
    if request.texts:
        assert text_detector is not None
        conf = CONF if request.conf is None else request.conf
        found = segment_texts(model, text_detector, rgb, request.texts, conf)
        return text_results(image, request.texts, found, model.name, Stopwatch())
    masks = _everything(model, rgb, request)
    return masks_results(image, masks, (), model.name, conf=-np.inf)


def _detected(detector: Detector, image: SourceImage, request: PredictionRequest) -> Results:
    if request.prompts or request.is_proposals:
        what = "points or boxes" if request.prompts else "object proposals"
        raise ValueError(f"the detector {detector.name} has no {what}; choose a segmenter, such as mobile_sam")
    ids = None
    if request.texts:
        numbers = {name.casefold(): number for number, name in enumerate(detector.class_names)}
        unknown = [text for text in request.texts if text.casefold() not in numbers]
        if unknown:
            raise ValueError(
                f"unknown class {unknown[0]!r} of {detector.name}; known: {', '.join(detector.class_names)}"
            )
        ids = frozenset(numbers[text.casefold()] for text in request.texts)
    conf = CONF if request.conf is None else request.conf
    return detect_objects(detector, image, DetectionRequest(conf, 0.7, class_ids=ids, retina_masks=True))


def _everything(segmenter: Segmenter[Any], image: Image, request: PredictionRequest) -> list[FoundMask]:
    """Return all masks of an RGB image, with the settings of a request."""
    if request.is_proposals:
        return [FoundMask(one.run_lengths, one.box, one.score) for one in propose_objects(segmenter, image)]
    if hasattr(segmenter, "model"):  # a SAM
        named = {
            "points_per_side": request.points_per_side,
            "pred_iou_thresh": request.conf,
            "crop_n_layers": request.crop_n_layers,
        }
        settings = automatic_mask_settings(**{name: value for name, value in named.items() if value is not None})
        found = segment_everything(cast(SamSegmenter, segmenter), image, settings)
        return [FoundMask(one.run_lengths, one.box, one.predicted_iou, one.stability_score) for one in found]
    if request.points_per_side is not None or request.crop_n_layers:
        raise ValueError(f"{segmenter.name} has no grid of points and no crops to choose; choose a SAM, as mobile_sam")
    if isinstance(segmenter, FastSamSegmenter) and request.conf is not None:
        masks = segmenter.find_masks(image, request.conf, IOU_THRESHOLD).masks
        return [FoundMask(one.run_lengths, one.box, one.score) for one in masks]
    objects = segment_automatically(segmenter, image, request.conf or 0.0)
    return [FoundMask(one.run_lengths, one.box, one.score) for one in objects]
