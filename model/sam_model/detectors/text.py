"""Any detector as a text detector that knows its own class names; masks of what texts describe."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sam_model.box_segmentation import segment_boxes
from sam_model.detectors.class_filter import detect_classes
from sam_model.interfaces import Detector, Segmenter, TextDetector
from sam_model.text_queries import check_texts
from sam_model.types import Detection, Image, ScoredMask


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


def segment_texts(
    segmenter: Segmenter[Any], detector: TextDetector, image: Image, texts: Sequence[str], score_threshold: float = 0.25
) -> list[tuple[Detection, ScoredMask]]:
    """Detect what texts describe, and segment each detection's box; masks of the detector itself stay.

    Raises:
        ValueError: a text is empty or unknown to the detector, or `image` is not RGB uint8.
    """
    found = detector.detect_texts(image, texts, score_threshold=score_threshold)
    own = [(one, ScoredMask(one.mask, one.score)) for one in found if one.mask is not None]
    if len(own) == len(found):
        return own
    masks = segment_boxes(segmenter, segmenter.embed(image), [one.box for one in found])
    return list(zip(found, masks, strict=True))
