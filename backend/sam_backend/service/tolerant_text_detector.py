"""A text detector that replaces the texts that it does not know by their classes, or leaves them out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from sam_backend.interactive.click_log import note_reason
from sam_model.interfaces import TextDetector
from sam_model.types import Detection, Image

TRIAL_SIZE = 64  # pixels; on this image, each text is tried alone


class TolerantTextDetector:
    """A `TextDetector` that answers the known texts; the list of clicks has the reasons of the others."""

    def __init__(self, detector: TextDetector, classes: Mapping[str, Sequence[str]]) -> None:
        """Use a detector.

        Args:
            detector: finds the texts that it knows, and raises a `ValueError` for others.
            classes: of a text; they take its place if the detector does not know it.
        """
        self._detector, self._classes = detector, classes
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
        """Detect what `texts` describe; see `TextDetector.detect_texts`."""

        def detect(queries: Sequence[str]) -> list[Detection]:
            return self._detector.detect_texts(
                image,
                queries,
                score_threshold=score_threshold,
                iou_threshold=iou_threshold,
                max_detections=max_detections,
            )

        try:
            return detect(texts)
        except ValueError:
            text_of = {query: text for text in texts for query in self._known_queries(text)}
        found = detect(list(text_of)) if text_of else []
        return [
            replace(one, class_name=text_of[one.class_name], class_id=texts.index(text_of[one.class_name]))
            for one in found
        ]

    def _known_queries(self, text: str) -> list[str]:
        problem = self._problem(text)
        if problem is None:
            return [text]
        known = [name for name in self._classes.get(text, ()) if self._problem(name) is None]
        if not known:
            note_reason(problem)
        return known

    def _problem(self, text: str) -> str | None:
        try:
            self._detector.detect_texts(np.zeros((TRIAL_SIZE, TRIAL_SIZE, 3), np.uint8), [text])
        except ValueError as error:
            return str(error)
        return None
