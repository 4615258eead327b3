"""A text detector that leaves out the texts that it does not know."""

from collections.abc import Sequence

import numpy as np

from sam_backend.interactive.click_log import note_reason
from sam_model.interfaces import TextDetector
from sam_model.types import Detection, Image

TRIAL_SIZE = 64  # pixels; on this image, each text is tried alone


class TolerantTextDetector:
    """A `TextDetector` that answers the known texts; the list of clicks has the reasons of the others."""

    def __init__(self, detector: TextDetector) -> None:
        self._detector = detector
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
        """Detect what the known ones of `texts` describe; see `TextDetector.detect_texts`.

        Class ids count the known texts only.
        """

        def detect(known: Sequence[str]) -> list[Detection]:
            return self._detector.detect_texts(
                image,
                known,
                score_threshold=score_threshold,
                iou_threshold=iou_threshold,
                max_detections=max_detections,
            )

        try:
            return detect(texts)
        except ValueError:
            known = [text for text in texts if self._is_known(text)]
            return detect(known) if known else []

    def _is_known(self, text: str) -> bool:
        try:
            self._detector.detect_texts(np.zeros((TRIAL_SIZE, TRIAL_SIZE, 3), np.uint8), [text])
        except ValueError as error:
            note_reason(str(error))
            return False
        return True
