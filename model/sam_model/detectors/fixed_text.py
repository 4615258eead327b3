"""A detector that is asked by words, asked for the same things in every picture: its classes are those words."""

import json
from collections.abc import Sequence

from sam_model.interfaces import TextDetector
from sam_model.types import Detection, Image


class FixedTextDetector:
    """A text detector behind the interface of `sam_model.interfaces.Detector`."""

    has_masks = False

    def __init__(self, detector: TextDetector, texts: Sequence[str]) -> None:
        """Ask `detector` for `texts`, each a class, in this order."""
        self._detector = detector
        self.class_names = tuple(texts)
        self.name = detector.name
        self.fingerprint = f"{detector.fingerprint}-{json.dumps(self.class_names)}"

    def detect(
        self, image: Image, *, score_threshold: float = 0.25, iou_threshold: float = 0.7, max_detections: int = 300
    ) -> list[Detection]:
        """What the words describe in an RGB uint8 image (H, W, 3), the surest first; none is no error."""
        return self._detector.detect_texts(
            image,
            self.class_names,
            score_threshold=score_threshold,
            iou_threshold=iou_threshold,
            max_detections=max_detections,
        )
