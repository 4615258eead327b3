from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sam_model.registry import load_text_detector
from sam_model.transformers_models.roi_align import roi_align
from sam_model.transformers_models.sam3 import Sam3Detector
from sam_model.transformers_models.square_images import squashed
from sam_model.types import Image
from sam_testing.tiny_transformers import write_tiny_sam3

SIZE = (50, 80)


@pytest.fixture(scope="module")
def image() -> Image:
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_sam3(tmp_path_factory.mktemp("sam3") / "tiny_sam3")


@pytest.fixture(scope="module")
def detector(folder: Path) -> Sam3Detector:
    found = load_text_detector(str(folder), "cpu")
    assert isinstance(found, Sam3Detector)
    return found


def test_texts_get_the_boxes_and_masks_that_the_model_answers(
    folder: Path, detector: Sam3Detector, image: Image
) -> None:
    from transformers import CLIPTokenizer, Sam3Model

    found = detector.detect_texts(image, ["dog", "a cat"], score_threshold=0, iou_threshold=1)

    model: Any = Sam3Model.from_pretrained(folder).eval()
    mean, std = 255 * torch.tensor([[0.5, 0.4, 0.3], [0.5, 0.25, 0.2]])[:, None, :, None, None]
    expected = []
    for text in ("dog", "a cat"):
        tokens = CLIPTokenizer.from_pretrained(folder)(text, padding="max_length", max_length=32, return_tensors="pt")
        with torch.inference_mode():
            answer = model((squashed(image, 56) - mean) / std, **tokens)
        scores = (answer.pred_logits.sigmoid() * answer.presence_logits.sigmoid())[0]
        boxes = (answer.pred_boxes[0] * torch.tensor([80, 50, 80, 50])).numpy().clip(0, [80, 50, 80, 50])
        masks = torch.nn.functional.interpolate(answer.pred_masks.sigmoid(), SIZE, mode="bilinear")[0] > 0.5
        expected += [(float(scores[i]), boxes[i], masks[i].numpy(), text) for i in range(10)]
    expected.sort(key=lambda one: -one[0])
    assert len(found) == 20
    for one, (score, box, mask, text) in zip(found, expected, strict=True):
        assert one.score == pytest.approx(score, abs=1e-6)
        assert one.box == pytest.approx(tuple(box), abs=1e-3)
        assert one.class_name == text
        assert one.mask is not None
        assert (one.mask == mask).all()


def test_duplicates_and_low_scores_are_dropped(detector: Sam3Detector, image: Image) -> None:
    every = detector.detect_texts(image, ["dog"], score_threshold=0, iou_threshold=1)
    threshold = every[4].score

    assert detector.detect_texts(image, ["dog"], score_threshold=threshold, iou_threshold=1)[-1].score > threshold
    assert len(detector.detect_texts(image, ["dog"], score_threshold=0, iou_threshold=0.01)) < len(every)
    assert len(detector.detect_texts(image, ["dog"], score_threshold=0, max_detections=1)) == 1


def test_examples_change_what_is_found(detector: Sam3Detector, image: Image) -> None:
    box = (10.0, 5.0, 60.0, 45.0)

    positive = detector.detect_similar(image, [box], score_threshold=0)
    negative = detector.detect_similar(image, [box], are_positive=[False], score_threshold=0)
    words = detector.detect_similar(image, [box], text="dog", score_threshold=0)

    assert {one.class_name for one in positive} == {"visual"}
    assert {one.class_name for one in words} == {"dog"}
    best = {round(found[0].score, 6) for found in (positive, negative, words)}
    assert len(best) == 3


@pytest.mark.parametrize(("boxes", "labels"), [([], None), ([(0, 0, 5, 5)], [True, False])])
def test_examples_without_a_box_or_label_are_refused(
    detector: Sam3Detector, image: Image, boxes: Any, labels: Any
) -> None:
    with pytest.raises(ValueError, match="needed: one or more, each with a label"):
        detector.detect_similar(image, boxes, are_positive=labels)


def test_a_box_s_average_is_that_of_its_pixels() -> None:
    columns = torch.arange(8.0).expand(2, 8, 8)  # the value of a pixel is its column

    (found,) = roi_align(columns[None], [torch.tensor([[2.0, 0.0, 6.0, 8.0]])], 2)

    # samples are half pixels from the edges of their part; a sample at x lies between the pixels floor(x) and the next
    assert found[0].tolist() == [[3.0, 5.0], [3.0, 5.0]]
