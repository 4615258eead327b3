"""Text detectors: OWLv2, and any detector for its own class names."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sam_model.box_segmentation import segment_boxes
from sam_model.detectors.class_filter import detect_classes
from sam_model.interfaces import Detector, Segmenter, TextDetector
from sam_model.masks.boxes import non_maximum_suppression
from sam_model.runtime.torch_runtime import Device, torch_device
from sam_model.types import Detection, Image, ScoredMask
from sam_model.weights.digest import weights_digest
from sam_model.weights.errors import BrokenWeightsError
from sam_model.yolo.decode import Objects
from sam_model.yolo.detector import check_arguments, detections_of


class ClassNameDetector:
    """A detector as a `TextDetector` that knows its own class names only."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.name, self.fingerprint = detector.name, detector.fingerprint

    def detect_texts(
        self,
        image: Image,
        texts: Sequence[str],
        *,
        score_threshold: float = 0.25,
        iou_threshold: float = 0.7,
        max_detections: int = 300,
    ) -> list[Detection]:
        """Detect the objects of the classes that `texts` name, ignoring case; see `TextDetector.detect_texts`.

        Raises:
            ValueError: a text is not a class name; or as `Detector.detect`.
        """
        check_texts(texts)
        known = {name.casefold(): name for name in reversed(self.detector.class_names)}
        for text in texts:
            if text.strip().casefold() not in known:
                classes = ", ".join(self.detector.class_names)
                raise ValueError(f"text {text!r} is not a class of {self.name}; known classes: {classes}")
        class_ids = {known[text.strip().casefold()]: class_id for class_id, text in enumerate(texts)}
        found = detect_classes(
            self.detector,
            image,
            dict.fromkeys(class_ids, score_threshold),
            iou_threshold=iou_threshold,
            max_detections=max_detections,
        )
        return [
            replace(one, class_id=class_ids[one.class_name], class_name=texts[class_ids[one.class_name]])
            for one in found
        ]


class OwlDetector:
    """OWLv2, which detects objects by a description. Needs transformers (extra `[text]`).

    Source: "Scaling Open-Vocabulary Object Detection", arXiv:2306.09683. Code and published weights are those of
    Hugging Face's transformers (Apache-2.0, `google/owlv2-base-patch16-ensemble`).
    """

    def __init__(self, folder: Path, device: Device = "auto") -> None:
        """Load a folder that `save_pretrained` wrote, or a snapshot of the published weights. Nothing is downloaded.

        Raises:
            ValueError: the device is unknown.
            BrokenWeightsError: transformers is not installed, or the folder has no OWLv2 weights in safetensors format.
        """
        try:
            from transformers import Owlv2ForObjectDetection, Owlv2Processor
        except ImportError:
            raise BrokenWeightsError(
                f"{folder.name} needs the package transformers: pip install 'label-studio-sam[text]'"
            ) from None
        self.device = torch_device(device)
        logging.getLogger("transformers").setLevel(logging.ERROR)
        try:
            # safetensors only: the older format is a pickle, which can hold code
            model: Any = Owlv2ForObjectDetection.from_pretrained(folder, local_files_only=True, use_safetensors=True)
            self._processor: Any = Owlv2Processor.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise BrokenWeightsError(f"could not load OWLv2 from {folder.name}: {reason}") from None
        self._model: Any = model.eval().requires_grad_(False)
        self.name = folder.name
        self.fingerprint = f"owlv2-{weights_digest(self._model)}"
        self._model.to(self.device)

    def detect_texts(
        self,
        image: Image,
        texts: Sequence[str],
        *,
        score_threshold: float = 0.25,
        iou_threshold: float = 0.7,
        max_detections: int = 300,
    ) -> list[Detection]:
        """Detect the objects that `texts` describe; see `TextDetector.detect_texts`.

        Raises:
            ValueError: there is no text, or an empty one; `image` is not RGB uint8, or a threshold is outside 0..1.
        """
        import torch

        check_texts(texts)
        check_arguments(image, score_threshold, iou_threshold, max_detections)
        inputs = self._processor(text=[list(texts)], images=image, return_tensors="pt", truncation=True)
        with torch.inference_mode():
            answer = self._model(**{name: tensor.to(self.device) for name, tensor in inputs.items()})
        scores, ids = answer.logits[0].float().sigmoid().max(dim=1)
        height, width = image.shape[:2]
        boxes = answer.pred_boxes[0].float() * max(height, width)  # shares of a square, with the image at its top left
        corners = torch.cat([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], dim=1).cpu().numpy()
        inside = np.clip(corners, 0, np.array([width, height] * 2)).astype(np.float32)
        passed = np.flatnonzero(scores.cpu().numpy() > score_threshold)
        kept = passed[non_maximum_suppression(inside[passed], scores.cpu().numpy()[passed], iou_threshold)]
        kept = kept[:max_detections]
        objects = Objects(inside[kept], scores.cpu().numpy()[kept], ids.cpu().numpy()[kept], None, None)
        return detections_of(objects, texts)


def segment_texts(
    segmenter: Segmenter[Any], detector: TextDetector, image: Image, texts: Sequence[str], score_threshold: float = 0.25
) -> list[tuple[Detection, ScoredMask]]:
    """Detect what texts describe, and segment each detection's box.

    Raises:
        ValueError: a text is empty or unknown to the detector, or `image` is not RGB uint8.
    """
    found = detector.detect_texts(image, texts, score_threshold=score_threshold)
    if not found:
        return []
    masks = segment_boxes(segmenter, segmenter.embed(image), [one.box for one in found])
    return list(zip(found, masks, strict=True))


def check_texts(texts: Sequence[str]) -> None:
    """Raise a `ValueError` unless `texts` holds at least one text and no empty one."""
    if isinstance(texts, str) or not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError(f"texts={texts!r}; needed: a list of one or more descriptions")
