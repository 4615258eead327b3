from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from sam_model.classical.detectors import PERSON_SCORES, ClassicalDetector
from sam_model.images.reader import read_image
from sam_model.masks.boxes import box_iou
from sam_model.registry import load_detector
from sam_model.types import Box, Image

PHOTOS = Path(__file__).parents[3] / "examples" / "photos"
ASTRONAUTS_FACE = (182, 62, 270, 160)  # drawn by hand: from the chin to the hair above the brow


@pytest.fixture(scope="module")
def astronaut() -> Image:
    return read_image(PHOTOS / "astronaut.jpg")


def iou(one: Box, other: Box) -> float:
    return float(box_iou(np.array(one, np.float32), np.array([other], np.float32))[0])


def drawn_person() -> Image:
    """300 x 220: a dark figure with head, trunk, arms and legs, on grey."""
    image = np.full((300, 220, 3), 190, np.uint8)
    dark = (40, 40, 50)
    cv2.circle(image, (110, 60), 16, dark, cv2.FILLED)
    cv2.ellipse(image, (110, 122), (30, 50), 0, 0, 360, dark, cv2.FILLED)
    for side in (-1, 1):
        cv2.line(image, (110 + side * 10, 160), (110 + side * 16, 245), dark, 18)
        cv2.line(image, (110 + side * 24, 95), (110 + side * 34, 160), dark, 12)
    return np.asarray(cv2.GaussianBlur(image, (5, 5), 0), np.uint8)


def test_it_finds_the_astronauts_face_and_nothing_else(astronaut: Image) -> None:
    (face,) = ClassicalDetector().detect(astronaut)

    assert face.class_name == "face"
    assert face.class_id == ClassicalDetector.class_names.index("face")
    assert iou(face.box, ASTRONAUTS_FACE) > 0.75
    assert 0.8 < face.score < 1
    assert face.mask is None


def test_it_finds_a_drawn_person_with_the_feet_in_the_box() -> None:
    person = ClassicalDetector().detect(drawn_person(), iou_threshold=0.3)[0]

    assert person.class_name == "person"
    assert iou(person.box, (60, 40, 160, 255)) > 0.5


@pytest.mark.parametrize("photo", ["coffee", "china", "flower", "chelsea", "rocket"])
def test_photographs_without_people_give_an_empty_list(photo: str) -> None:
    assert ClassicalDetector().detect(read_image(PHOTOS / f"{photo}.jpg")) == []


def test_a_large_image_is_looked_at_smaller_and_the_box_is_in_its_own_pixels(astronaut: Image) -> None:
    large = np.asarray(cv2.resize(astronaut, (2048, 1536), interpolation=cv2.INTER_CUBIC), np.uint8)

    face = ClassicalDetector().detect(large)[0]

    x_min, y_min, x_max, y_max = ASTRONAUTS_FACE
    assert face.class_name == "face"
    assert iou(face.box, (4 * x_min, 3 * y_min, 4 * x_max, 3 * y_max)) > 0.6


def test_low_scores_come_last_and_only_when_asked_for(astronaut: Image) -> None:
    detector = ClassicalDetector()

    sure, all_found = detector.detect(astronaut), detector.detect(astronaut, score_threshold=0)
    scores = [detection.score for detection in all_found]

    assert len(all_found) > len(sure)
    assert all_found[0] == sure[0]
    assert scores == sorted(scores, reverse=True)
    assert detector.detect(astronaut, score_threshold=0, max_detections=1) == all_found[:1]


def test_boxes_of_one_class_do_not_overlap_more_than_asked(astronaut: Image) -> None:
    found = ClassicalDetector().detect(astronaut, score_threshold=0, iou_threshold=0.1)

    for index, one in enumerate(found):
        for other in found[index + 1 :]:
            assert one.class_id != other.class_id or iou(one.box, other.box) <= 0.1


def test_boxes_stay_within_the_image(astronaut: Image) -> None:
    corner = np.ascontiguousarray(astronaut[60:200, 170:300])  # the face fills it

    for detection in ClassicalDetector().detect(corner, score_threshold=0):
        x_min, y_min, x_max, y_max = detection.box
        assert 0 <= x_min < x_max <= 130
        assert 0 <= y_min < y_max <= 140


@pytest.mark.parametrize("size", [(1, 1), (23, 500), (500, 23), (3000, 1)])
def test_an_image_too_small_for_the_windows_has_nothing_in_it(size: tuple[int, int]) -> None:
    assert ClassicalDetector().detect(np.zeros((*size, 3), np.uint8)) == []


def test_threads_that_share_a_detector_find_what_one_finds(astronaut: Image) -> None:
    detector = ClassicalDetector()
    images = [astronaut, np.ascontiguousarray(astronaut[:, ::-1]), np.ascontiguousarray(astronaut[:300])] * 3
    alone = [ClassicalDetector().detect(image, score_threshold=0) for image in images[:3]] * 3

    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda image: detector.detect(image, score_threshold=0), images))

    assert together == alone


def test_scores_grow_with_the_margin_and_stay_between_0_and_1() -> None:
    scores = PERSON_SCORES.scores(np.array([-50.0, 0.0, 1.5, 2.0, 50.0]))

    assert scores[2] == 0.5
    assert np.all(np.diff(scores) > 0)
    assert 0 <= scores[0] < 0.001
    assert 0.999 < scores[-1] <= 1


@pytest.mark.parametrize(
    "image", [np.zeros((40, 40), np.uint8), np.zeros((40, 40, 3), np.float32), np.zeros((0, 40, 3), np.uint8)]
)
def test_what_is_no_rgb_image_is_refused(image: Image) -> None:
    with pytest.raises(ValueError, match="RGB uint8"):
        ClassicalDetector().detect(image)


@pytest.mark.parametrize("name", ["score_threshold", "iou_threshold"])
def test_a_threshold_outside_0_to_1_is_refused(name: str, astronaut: Image) -> None:
    with pytest.raises(ValueError, match=f"{name}=1.5"):
        ClassicalDetector().detect(astronaut, **{name: 1.5})


def test_the_registry_knows_it_by_name() -> None:
    assert load_detector("classical").class_names == ("person", "face")
