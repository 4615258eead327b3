"""Detectors that are asked by words: any detector for its own class names, OWLv2 for whatever a person writes."""

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
from sam_model.runtime.torch_runtime import torch_device
from sam_model.types import Detection, Image, ScoredMask
from sam_model.weights.digest import weights_digest
from sam_model.weights.errors import BrokenWeightsError
from sam_model.yolo.decode import Objects
from sam_model.yolo.detector import check_question, detections_of


class ClassNameDetector:
    """A detector that is asked for some of its classes by their names."""

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
        """The objects of the classes that `texts` name, whatever their case.

        Raises:
            ValueError: no text, or one that is no class; or as `Detector.detect`.
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
    """OWLv2: finds what words describe, of any kind. Needs transformers, extra `[text]`.

    Source: "Scaling Open-Vocabulary Object Detection", arXiv:2306.09683; run by Hugging Face's transformers
    (Apache-2.0), as are its published weights (`google/owlv2-base-patch16-ensemble`).
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        """Read a folder that `save_pretrained` wrote, or a snapshot of the published weights; nothing is fetched.

        Raises:
            ValueError: no such device.
            BrokenWeightsError: transformers is not installed, or the folder holds no OWLv2 in safetensors.
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
            # safetensors only: the older format is a pickle
            model: Any = Owlv2ForObjectDetection.from_pretrained(folder, local_files_only=True, use_safetensors=True)
            self._processor: Any = Owlv2Processor.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise BrokenWeightsError(f"{folder.name} holds no OWLv2 that can be read: {reason}") from None
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
        """The objects that each of `texts` describes; of boxes that overlap by more the surer one stays.

        Raises:
            ValueError: no text, or an empty one; not an RGB uint8 image, or a threshold outside 0..1.
        """
        import torch

        check_texts(texts)
        check_question(image, score_threshold, iou_threshold, max_detections)
        inputs = self._processor(text=[list(texts)], images=image, return_tensors="pt", truncation=True)
        with torch.inference_mode():
            answer = self._model(**{name: tensor.to(self.device) for name, tensor in inputs.items()})
        scores, ids = answer.logits[0].float().sigmoid().max(dim=1)
        height, width = image.shape[:2]
        boxes = answer.pred_boxes[0].float() * max(height, width)  # they are parts of a square; the picture is top left
        corners = torch.cat([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], dim=1).cpu().numpy()
        inside = np.clip(corners, 0, np.array([width, height] * 2)).astype(np.float32)
        sure = np.flatnonzero(scores.cpu().numpy() > score_threshold)
        kept = sure[non_maximum_suppression(inside[sure], scores.cpu().numpy()[sure], iou_threshold)][:max_detections]
        objects = Objects(inside[kept], scores.cpu().numpy()[kept], ids.cpu().numpy()[kept], None, None)
        return detections_of(objects, texts)


def segment_texts(
    segmenter: Segmenter[Any], detector: TextDetector, image: Image, texts: Sequence[str], score_threshold: float = 0.25
) -> list[tuple[Detection, ScoredMask]]:
    """What words describe, with masks: the detector finds boxes, the segmenter makes a mask of each.

    Raises:
        ValueError: a text that the detector cannot be asked for, or not an RGB uint8 image.
    """
    found = detector.detect_texts(image, texts, score_threshold=score_threshold)
    if not found:
        return []
    masks = segment_boxes(segmenter, segmenter.embed(image), [one.box for one in found])
    return list(zip(found, masks, strict=True))


def check_texts(texts: Sequence[str]) -> None:
    """See that there is something to look for.

    Raises:
        ValueError: there is not.
    """
    if isinstance(texts, str) or not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError(f"texts={texts!r}; needed: one or more names of things")
