"""A detector of pure red and pure green blots, for tests with known objects."""

import threading

import cv2
import numpy as np

from sam_model.types import Detection, Image

COLOURS = {"cherry": (255, 0, 0), "leaf": (0, 255, 0)}


class ColourDetector:
    """Detect each blot as an object; larger blots have higher scores."""

    name = "colours"
    fingerprint = "colours-1"
    class_names = tuple(COLOURS)

    def __init__(self, has_masks: bool = False) -> None:
        self.has_masks = has_masks
        self.images = 0  # how many it has seen
        self.breaks_at: int | None = None  # the number of the image it stumbles over
        self._lock = threading.Lock()

    def detect(
        self, image: Image, *, score_threshold: float = 0.25, iou_threshold: float = 0.7, max_detections: int = 300
    ) -> list[Detection]:
        with self._lock:
            self.images += 1
            if self.images == self.breaks_at:
                raise RuntimeError("out of\nmemory")
        found = []
        for class_id, (class_name, colour) in enumerate(COLOURS.items()):
            blots = (image == colour).all(axis=2)
            count, parts, stats, _ = cv2.connectedComponentsWithStats(blots.astype(np.uint8), connectivity=4)
            for part in range(1, count):
                x, y, width, height, area = stats[part].tolist()
                score = area / (area + 100)
                mask = parts == part if self.has_masks else None
                if score >= score_threshold:
                    found.append(Detection((x, y, x + width, y + height), score, class_id, class_name, mask))
        return sorted(found, key=lambda detection: -detection.score)[:max_detections]
