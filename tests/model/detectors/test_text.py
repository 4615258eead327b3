from typing import Any

import numpy as np
import pytest
import torch

from sam_model import SAM
from sam_model.classical.segmenter import ClassicalSegmenter
from sam_model.detectors.text import ClassNameDetector, segment_texts
from sam_model.registry import load_text_detector
from sam_model.sam.segmenter import SamSegmenter
from sam_model.scripting import sam as sam_scripting
from sam_model.types import Detection, Image
from sam_testing.seeded_checkpoints import TINY_MOBILE_SAM, seeded_sam


class Finder:
    """Finds a box of each class."""

    name, fingerprint, class_names = "finder", "finder-1", ("Person", "dog", "bicycle")

    def detect(self, image: Image, **settings: Any) -> list[Detection]:
        return [
            Detection((5.0 * i, 5, 5.0 * i + 20, 30), 0.9 - 0.1 * i, i, name) for i, name in enumerate(self.class_names)
        ]


@pytest.fixture(scope="module")
def image() -> Image:
    return np.random.default_rng(0).integers(0, 256, (50, 80, 3), dtype=np.uint8)


def test_a_detector_finds_its_classes_by_their_names(image: Image) -> None:
    found = ClassNameDetector(Finder()).detect_texts(image, ["bicycle", " person"])

    assert [(one.class_id, one.class_name, one.box[0]) for one in found] == [(1, " person", 0), (0, "bicycle", 10)]


def test_a_rare_class_is_found_behind_three_hundred_of_another(image: Image) -> None:
    class Crowd:
        name, fingerprint, class_names = "crowd", "crowd-1", ("person", "dog")

        def detect(self, image: Image, *, max_detections: int = 300, **settings: Any) -> list[Detection]:
            people = [Detection((0, 0, 5, 5), 0.9, 0, "person")] * 400
            return [*people, Detection((10, 10, 30, 30), 0.5, 1, "dog")][:max_detections]

    found = ClassNameDetector(Crowd()).detect_texts(image, ["dog"], max_detections=2)

    assert [(one.class_name, one.box) for one in found] == [("dog", (10, 10, 30, 30))]


def test_a_word_that_is_no_class_is_named(image: Image) -> None:
    with pytest.raises(ValueError, match="text 'cat' is not a class of finder; known classes: Person, dog, bicycle"):
        ClassNameDetector(Finder()).detect_texts(image, ["dog", "cat"])


@pytest.mark.parametrize("texts", ["dog", [], ["dog", " "], [1]])
def test_what_is_no_list_of_words_is_named(image: Image, texts: Any) -> None:
    with pytest.raises(ValueError, match="needed: a list of one or more descriptions"):
        ClassNameDetector(Finder()).detect_texts(image, texts)


def test_words_become_masks(image: Image) -> None:
    found = segment_texts(ClassicalSegmenter(), ClassNameDetector(Finder()), image, ["dog"])

    assert [detection.class_name for detection, _ in found] == ["dog"]
    assert found[0][1].mask.shape == (50, 80)
    assert found[0][1].mask.any()
    assert segment_texts(ClassicalSegmenter(), load_text_detector("classical"), np.zeros_like(image), ["face"]) == []


def test_masks_of_the_detector_itself_stay(image: Image) -> None:
    mask = np.zeros((50, 80), dtype=bool)
    mask[10:20, 30:40] = True

    class Segmenting:
        name, fingerprint = "segmenting", "segmenting-1"

        def detect_texts(self, image: Image, texts: Any, **settings: Any) -> list[Detection]:
            return [Detection((30, 10, 40, 20), 0.8, 0, texts[0], mask)]

    ((detection, scored),) = segment_texts(ClassicalSegmenter(), Segmenting(), image, ["dog"])

    assert scored.mask is mask
    assert scored.score == detection.score == 0.8


def test_a_name_is_a_detector() -> None:
    assert load_text_detector("classical").name == "classical"


@pytest.fixture
def sam(monkeypatch: pytest.MonkeyPatch) -> SAM:
    tiny = SamSegmenter(seeded_sam(TINY_MOBILE_SAM), "tiny")
    monkeypatch.setattr(sam_scripting, "load_sam", lambda *_: tiny)
    monkeypatch.setattr(sam_scripting, "load_text_detector", lambda *_: ClassNameDetector(Finder()))
    return SAM("sam_b.pt")


def test_sam_takes_words(sam: SAM, image: Image) -> None:
    (one,) = sam(image, text="dog", image_format="RGB")
    (two,) = sam(image, text=["dog", "person"], detector="finder.pt", verbose=False)
    (by_box,) = sam(image, bboxes=[5, 5, 25, 30], image_format="RGB")

    assert one.masks.shape == (1, 50, 80)
    assert [prompt.box for prompt in one.prompts] == [(5, 5, 25, 30)]
    assert torch.equal(one.masks.data, by_box.masks.data)
    assert [prompt.box for prompt in two.prompts] == [(0, 5, 20, 30), (5, 5, 25, 30)]
    assert two.names == {0: "dog", 1: "person"}
    assert [one.verbose() for one in two] == ["1 person, ", "1 dog, "]


def test_words_and_clicks_together_are_refused(sam: SAM, image: Image) -> None:
    with pytest.raises(ValueError, match="text: not possible together with points or boxes"):
        sam(image, text="dog", points=[3, 3])
    with pytest.raises(ValueError, match="iou: not possible together with text"):
        sam(image, text="dog", iou=0.5)
