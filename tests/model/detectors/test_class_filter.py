from typing import Any

import numpy as np

from sam_model.detectors.class_filter import MAX_DETECTIONS_BEFORE_FILTER, detect_classes
from sam_model.types import Detection, Image

IMAGE = np.zeros((30, 50, 3), np.uint8)


class Crowd:
    """400 people, then a dog and a cat."""

    name = fingerprint = "crowd"
    class_names = ("person", "dog", "cat")

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def detect(self, image: Image, **settings: Any) -> list[Detection]:
        self.asked = settings
        people = [Detection((i, 0, i + 1, 5), 0.9, 0, "person") for i in range(400)]
        pets = [Detection((0, 0, 9, 9), 0.5, 1, "dog"), Detection((5, 5, 9, 9), 0.3, 2, "cat")]
        return [*people, *pets][: settings["max_detections"]]


def test_only_the_wanted_classes_are_returned_and_counted() -> None:
    crowd = Crowd()

    found = detect_classes(crowd, IMAGE, {"dog": 0.2, "cat": 0.2}, iou_threshold=0.6, max_detections=2)

    assert [one.class_name for one in found] == ["dog", "cat"]
    assert crowd.asked == {
        "score_threshold": 0.2,
        "iou_threshold": 0.6,
        "max_detections": MAX_DETECTIONS_BEFORE_FILTER,
    }


def test_every_class_has_its_own_threshold() -> None:
    found = detect_classes(Crowd(), IMAGE, {"person": 0.95, "dog": 0.5, "cat": 0.31})

    assert [one.class_name for one in found] == ["dog"]


def test_a_detector_whose_classes_are_all_wanted_is_asked_for_no_more_than_needed() -> None:
    crowd = Crowd()

    found = detect_classes(crowd, IMAGE, dict.fromkeys(crowd.class_names, 0.25), max_detections=7)

    assert len(found) == 7
    assert crowd.asked["max_detections"] == 7


def test_without_a_wanted_class_the_detector_is_not_called() -> None:
    crowd = Crowd()

    assert detect_classes(crowd, IMAGE, {}) == []
    assert crowd.asked == {}
