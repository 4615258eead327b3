"""A text detector with fixed texts, which become its classes."""

import json
from collections.abc import Sequence

from sam_model.interfaces import TextDetector
from sam_model.types import Detection, Image


class FixedTextDetector:
    """A `TextDetector` as a `sam_model.interfaces.Detector`."""

    def __init__(self, detector: TextDetector, texts: Sequence[str]) -> None:
        """Use `detector` with the same `texts` for every image. The texts are the classes, in this order."""
        self._detector = detector
        self.class_names = tuple(texts)
        self.has_masks = bool(getattr(detector, "has_masks", False))
        self.name = detector.name
        self.fingerprint = f"{detector.fingerprint}-{json.dumps(self.class_names)}"

    def detect(
        self, image: Image, *, score_threshold: float = 0.25, iou_threshold: float = 0.7, max_detections: int = 300
    ) -> list[Detection]:
        """Detect what the texts describe in an RGB uint8 image (H, W, 3); see `Detector.detect`."""
        return self._detector.detect_texts(
            image,
            self.class_names,
            score_threshold=score_threshold,
            iou_threshold=iou_threshold,
            max_detections=max_detections,
        )
