from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sam_model.registry import load_text_detector
from sam_model.transformers_models.grounding_dino import GroundingDinoDetector
from sam_model.types import Image
from sam_testing.tiny_transformers import write_tiny_grounding_dino

WORDS = ["Dog", "a cat", "bird"]


@pytest.fixture(scope="module")
def image() -> Image:
    return np.random.default_rng(0).integers(0, 256, (50, 80, 3), dtype=np.uint8)


@pytest.fixture(scope="module", params=[True, False], ids=["mm-grounding-dino", "grounding-dino"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_grounding_dino(tmp_path_factory.mktemp("dino") / "tiny_dino", request.param)


@pytest.fixture(scope="module")
def detector(folder: Path) -> GroundingDinoDetector:
    found = load_text_detector(str(folder), "cpu")
    assert isinstance(found, GroundingDinoDetector)
    return found


def test_texts_get_the_boxes_that_transformers_reads_from_its_answer(
    folder: Path, detector: GroundingDinoDetector, image: Image
) -> None:
    from transformers import (
        AutoModelForZeroShotObjectDetection,
        BertTokenizer,
        GroundingDinoImageProcessorPil,
        GroundingDinoProcessor,
    )

    found = detector.detect_texts(image, WORDS, score_threshold=0, iou_threshold=1)

    images, tokenizer = GroundingDinoImageProcessorPil.from_pretrained(folder), BertTokenizer.from_pretrained(folder)
    processor: Any = GroundingDinoProcessor(images, tokenizer)
    model: Any = AutoModelForZeroShotObjectDetection.from_pretrained(folder).eval()
    inputs = processor(images=image, text=[WORDS], return_tensors="pt")
    with torch.inference_mode():
        answer = model(**inputs)
    result = processor.post_process_grounded_object_detection(
        answer, inputs["input_ids"], threshold=0, target_sizes=[(50, 80)]
    )[0]
    order = result["scores"].argsort(descending=True, stable=True).tolist()
    assert len(found) == len(order) == 12
    for one, place in zip(found, order, strict=True):
        expected = result["boxes"][place].numpy().clip(0, [80, 50, 80, 50])
        assert one.box == pytest.approx(tuple(expected), abs=1e-3)
        assert one.score == pytest.approx(float(result["scores"][place]), abs=1e-6)
        assert one.class_name == WORDS[one.class_id]


def test_an_object_has_the_class_of_its_highest_scoring_token(detector: GroundingDinoDetector, image: Image) -> None:
    question = next(detector._questions(WORDS))

    spelt = [detector._tokenizer.decode(question.tokens["input_ids"][0, question.owners == i]) for i in range(3)]

    assert spelt == ["dog", "a cat", "bird"]
    assert {one.class_name for one in detector.detect_texts(image, WORDS, score_threshold=0)} <= set(WORDS)


def test_many_texts_are_several_questions(detector: GroundingDinoDetector, image: Image) -> None:
    texts = [letter * 10 for letter in "abcdefg"]  # ten tokens each; 48 fit

    questions = list(detector._questions(texts))
    found = detector.detect_texts(image, texts, score_threshold=0, iou_threshold=1, max_detections=1000)

    assert len(questions) > 1
    assert [index for question in questions for index in sorted(set(question.owners.tolist()) - {-1})] == [*range(7)]
    assert len(found) == 12 * len(questions)
    alone = detector.detect_texts(image, texts[:3], score_threshold=0, iou_threshold=1)
    assert {round(one.score, 6) for one in alone} <= {round(one.score, 6) for one in found}


def test_a_text_that_is_too_long_is_named(detector: GroundingDinoDetector, image: Image) -> None:
    with pytest.raises(ValueError, match=r"text 'x+'\.\.\. has \d+ tokens; tiny_dino takes 48"):
        detector.detect_texts(image, ["dog", "x" * 90])


def test_a_full_stop_in_a_text_does_not_end_it(detector: GroundingDinoDetector) -> None:
    question = next(detector._questions(["no. one", "dog"]))

    assert detector._tokenizer.decode(question.tokens["input_ids"][0]) == "[CLS] no one. dog. [SEP]"
