"""Detection of people and faces with the detectors that OpenCV ships.

People who stand upright and are completely visible: histograms of oriented gradients and a linear classifier (Dalal and
Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005). Frontal faces: a cascade of Haar-like
features (Viola and Jones, "Rapid Object Detection using a Boosted Cascade of Simple Features", CVPR 2001), the file
`haarcascade_frontalface_default.xml` in the OpenCV package. Both methods are old: they miss many objects and have false
positives. They are included so that everything runs without downloads.

OpenCV ships more cascades, which are not used. On the photographs in `examples/photos`, the other frontal ones found
helmets and petals with scores as high as the face's, the profile one found the frontal face at a wrong angle, the body
ones found a body in half a face, and those for cats a patch of fur below the cat's eye.
"""

from dataclasses import dataclass
from pathlib import Path
from threading import local

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_model.masks.boxes import Boxes, non_maximum_suppression
from sam_model.types import Detection, Image

VERSION = 1
FACE_CASCADE = "haarcascade_frontalface_default.xml"
MAX_SIDE = 1280  # pixels; larger images are shrunk, since both detectors try every size from ~64 pixels on
MIN_FACE_SIZE = 24  # pixels, the cascade's window
HOG_STRIDE, HOG_PADDING = (8, 8), (16, 16)  # pixels; with padding, people at the border are found
SCALE_STEP = 1.1  # of the face search
PERSON_SCALE_STEP = 1.05
FACE_NEIGHBOURS = 3  # windows that must agree


@dataclass(frozen=True)
class ScoreMapping:
    """Maps a classifier's margin to 0..1: 1 / (1 + exp(-slope (margin - middle))).

    The score increases with the margin, but it is **not a probability**, since it is not calibrated. The numbers were
    set on some twenty photographs, so that most false positives are below the default threshold of 0.25.
    """

    middle: float  # the margin whose score is 0.5
    slope: float

    def scores(self, margins: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the scores (N,) of `margins` (N,)."""
        scores: NDArray[np.float32] = (1 / (1 + np.exp(-self.slope * (margins - self.middle)))).astype(np.float32)
        return scores


PERSON_SCORES = ScoreMapping(middle=1.5, slope=3.0)  # the linear classifier's distance from its plane
FACE_SCORES = ScoreMapping(middle=3.0, slope=1.0)  # the margin in the cascade's last stage
Found = tuple[Boxes, NDArray[np.float32]]  # boxes (N, 4), scores (N,)


class ClassicalDetector:
    """OpenCV's detectors of people and faces. Threads may share one."""

    name = "classical"
    fingerprint = f"classical-detector-{VERSION}-{MAX_SIDE}"
    class_names = ("person", "face")
    has_masks = False

    def __init__(self) -> None:
        self._own = local()  # OpenCV's detectors hold buffers, so each thread has its own

    def detect(
        self, image: Image, *, score_threshold: float = 0.25, iou_threshold: float = 0.7, max_detections: int = 300
    ) -> list[Detection]:
        """Detect people and faces in an RGB uint8 image (H, W, 3); see `Detector.detect`.

        Raises:
            ValueError: `image` is not RGB uint8, or a threshold is outside 0..1.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ValueError(f"image is {image.dtype} {image.shape}; an RGB uint8 image (H, W, 3) is needed")
        for name, threshold in (("score_threshold", score_threshold), ("iou_threshold", iou_threshold)):
            if not 0 <= threshold <= 1:
                raise ValueError(f"{name}={threshold} is not between 0 and 1")
        scale = min(1.0, MAX_SIDE / max(image.shape[:2]))
        height, width = image.shape[:2]
        small = np.ascontiguousarray(image)
        if scale < 1:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        steps = np.array([small.shape[1] / width, small.shape[0] / height] * 2, np.float32)
        found: list[Detection] = []
        for class_id, (boxes, scores) in enumerate((self._people(small), self._faces(small))):
            boxes = np.clip(boxes / steps, 0, [width, height, width, height]).astype(np.float32)
            for index in non_maximum_suppression(boxes, scores, iou_threshold):
                x_min, y_min, x_max, y_max = map(float, boxes[index])
                if scores[index] >= score_threshold and x_max > x_min and y_max > y_min:
                    box = x_min, y_min, x_max, y_max
                    found.append(Detection(box, float(scores[index]), class_id, self.class_names[class_id]))
        return sorted(found, key=lambda detection: -detection.score)[:max_detections]

    def _people(self, image: Image) -> Found:
        if not hasattr(self._own, "people"):
            self._own.people = cv2.HOGDescriptor()
            self._own.people.setSVMDetector(cv2.HOGDescriptor.getDefaultPeopleDetector())
        window = self._own.people.winSize  # (64, 128); a smaller image cannot contain it
        if image.shape[1] < window[0] or image.shape[0] < window[1]:
            return _found((), (), PERSON_SCORES)
        boxes, margins = self._own.people.detectMultiScale(
            image, winStride=HOG_STRIDE, padding=HOG_PADDING, scale=PERSON_SCALE_STEP, groupThreshold=0
        )
        return _found(boxes, margins, PERSON_SCORES)

    def _faces(self, image: Image) -> Found:
        if not hasattr(self._own, "faces"):
            self._own.faces = cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / FACE_CASCADE))
        if min(image.shape[:2]) < MIN_FACE_SIZE:
            return _found((), (), FACE_SCORES)
        boxes, _, margins = self._own.faces.detectMultiScale3(
            cv2.cvtColor(image, cv2.COLOR_RGB2GRAY),
            scaleFactor=SCALE_STEP,
            minNeighbors=FACE_NEIGHBOURS,
            minSize=(MIN_FACE_SIZE, MIN_FACE_SIZE),
            outputRejectLevels=True,
        )
        return _found(boxes, margins, FACE_SCORES)


def _found(boxes: object, margins: object, mapping: ScoreMapping) -> Found:
    """Convert OpenCV's boxes (x, y, width, height) and margins, which have several shapes, to boxes and scores."""
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    return corners, mapping.scores(np.array(margins, np.float64).reshape(-1))
