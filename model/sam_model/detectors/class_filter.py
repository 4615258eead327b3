"""Detection of some of a detector's classes, each with its own score threshold."""

from collections.abc import Mapping

from sam_model.interfaces import Detector
from sam_model.types import Detection, Image

MAX_DETECTIONS_BEFORE_FILTER = 3000  # objects of all classes, from which the wanted ones are taken


def detect_classes(
    detector: Detector,
    image: Image,
    score_thresholds: Mapping[str, float],
    *,
    iou_threshold: float = 0.7,
    max_detections: int = 300,
) -> list[Detection]:
    """Return the detections of the classes in `score_thresholds`, highest-scoring first.

    `max_detections` counts wanted detections only: a crowd of unwanted objects does not displace them.

    Args:
        detector: finds the objects.
        image: RGB uint8 (H, W, 3).
        score_thresholds: the class names that are wanted, each with its minimum score in 0..1.
        iou_threshold: 0..1; of two boxes with a larger IoU, the highest-scoring one is kept.
        max_detections: maximum number of detections.

    Raises:
        ValueError: `image` is not RGB uint8, or a threshold is outside 0..1.
    """
    if not score_thresholds:
        return []
    is_filtered = not set(detector.class_names) <= set(score_thresholds) or len(set(score_thresholds.values())) > 1
    found = detector.detect(
        image,
        score_threshold=min(score_thresholds.values()),
        iou_threshold=iou_threshold,
        max_detections=max(max_detections, MAX_DETECTIONS_BEFORE_FILTER) if is_filtered else max_detections,
    )
    wanted = [
        one for one in found if one.class_name in score_thresholds and one.score >= score_thresholds[one.class_name]
    ]
    return wanted[:max_detections]
