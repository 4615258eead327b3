from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sam_model.masks.boxes import box_iou
from sam_model.registry import load_text_detector
from sam_model.transformers_models.owl import ObjectProposals, OwlDetector, embeddings_of_boxes
from sam_model.types import Image
from sam_testing.tiny_transformers import write_tiny_owl

WORDS = ["dog", "a cat"]


@pytest.fixture(scope="module")
def image() -> Image:
    return np.random.default_rng(0).integers(0, 256, (50, 80, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_owl(tmp_path_factory.mktemp("owl") / "tiny_owl")


@pytest.fixture(scope="module")
def owl(folder: Path) -> OwlDetector:
    return OwlDetector(folder)


@pytest.fixture(scope="module")
def theirs(folder: Path) -> tuple[Any, Any]:
    """Transformers' own processor and model."""
    from transformers import CLIPTokenizer, Owlv2ForObjectDetection, Owlv2ImageProcessorPil, Owlv2Processor

    images, tokenizer = Owlv2ImageProcessorPil.from_pretrained(folder), CLIPTokenizer.from_pretrained(folder)
    return Owlv2Processor(image_processor=images, tokenizer=tokenizer), Owlv2ForObjectDetection.from_pretrained(folder)


def test_owl_finds_the_boxes_that_transformers_reads_from_its_answer(
    owl: OwlDetector, theirs: tuple[Any, Any], image: Image
) -> None:
    processor, model = theirs

    found = owl.detect_texts(image, WORDS, score_threshold=0.1, iou_threshold=1.0)

    inputs = processor(text=[WORDS], images=image, return_tensors="pt")
    with torch.inference_mode():
        answer = model(**inputs)
    result = processor.post_process_grounded_object_detection(
        answer, threshold=0.1, target_sizes=[(50, 80)], text_labels=[WORDS]
    )[0]
    order = result["scores"].argsort(descending=True, stable=True).tolist()
    assert len(found) == len(order) > 2
    for one, place in zip(found, order, strict=True):
        expected = result["boxes"][place].numpy().clip(0, [80, 50, 80, 50])
        assert one.box == pytest.approx(tuple(expected), abs=1e-3)
        assert one.score == pytest.approx(float(result["scores"][place]))
        assert one.class_name == result["text_labels"][place] == WORDS[one.class_id]


def test_other_words_give_other_scores(owl: OwlDetector, image: Image) -> None:
    dogs = owl.detect_texts(image, ["dog"], score_threshold=0.0)
    trees = owl.detect_texts(image, ["tree"], score_threshold=0.0)

    assert [one.score for one in dogs] != [one.score for one in trees]


def test_owl_keeps_the_higher_scoring_of_two_that_overlap_and_no_more_than_asked_for(
    owl: OwlDetector, image: Image
) -> None:
    every = owl.detect_texts(image, WORDS, score_threshold=0.0, iou_threshold=1.0)
    fewer = owl.detect_texts(image, WORDS, score_threshold=0.0, iou_threshold=0.01)

    assert len(fewer) < len(every)
    assert fewer[0] == every[0]
    assert owl.detect_texts(image, WORDS, score_threshold=0.0, max_detections=1) == every[:1]


def test_proposals_are_those_of_transformers_image_query(
    owl: OwlDetector, theirs: tuple[Any, Any], image: Image
) -> None:
    processor, model = theirs

    proposals = owl.propose(image)

    pixels = processor.image_processor(images=image, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        grid, _ = model.image_embedder(pixel_values=pixels)
        query, best, boxes = model.embed_image_query(grid.flatten(1, 2), grid)
    (index,) = best[0].tolist()
    assert proposals.objectness.argmax() == index
    assert proposals.embeddings.shape == (16, 16)
    assert np.linalg.norm(proposals.embeddings, axis=1) == pytest.approx(np.ones(16), abs=1e-6)
    assert proposals.embeddings[index] == pytest.approx((query[0, 0] / query.norm()).numpy(), abs=1e-6)
    centre_x, centre_y, width, height = (80 * boxes[0, index]).tolist()  # shares of a square of 80 pixels
    corners = (centre_x - width / 2, centre_y - height / 2, centre_x + width / 2, centre_y + height / 2)
    assert proposals.boxes[index] == pytest.approx(np.clip(corners, 0, [80, 50, 80, 50]), abs=1e-3)


def test_an_object_is_described_by_the_patch_whose_predicted_box_fits_it_best(owl: OwlDetector, image: Image) -> None:
    proposals = owl.propose(image)
    box = (10.0, 5.0, 60.0, 45.0)

    described = owl.describe(image, [box, tuple(proposals.boxes[5].tolist())])

    iou = box_iou(np.array(box, np.float32), proposals.boxes)
    assert described.dtype == np.float32
    assert (described[0] == proposals.embeddings[iou.argmax()]).all()
    assert (described[1] == proposals.embeddings[5]).all()
    assert owl.describe(image, []).shape == (0, 16)


def test_a_box_without_a_proposal_is_described_by_the_nearest_one() -> None:
    boxes = np.array([[0, 0, 10, 10], [30, 30, 40, 40], [90, 0, 100, 10]], np.float32)
    proposals = ObjectProposals(boxes, np.eye(3, dtype=np.float32), np.zeros(3, np.float32))

    assert embeddings_of_boxes(proposals, [(50, 50, 60, 60)]).tolist() == [[0, 1, 0]]


def test_a_folder_is_an_owl(folder: Path, owl: OwlDetector) -> None:
    assert load_text_detector(str(folder)).fingerprint == owl.fingerprint


def test_what_is_no_list_of_words_is_named(owl: OwlDetector, image: Image) -> None:
    with pytest.raises(ValueError, match="needed: a list of one or more descriptions"):
        owl.detect_texts(image, "dog")
