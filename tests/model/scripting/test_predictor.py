from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from sam_model.sam.segmenter import SamSegmenter
from sam_model.scripting.predictor import Predictor
from sam_testing.colour_sam import ColourSam
from sam_testing.seeded_checkpoints import TINY_MOBILE_SAM, seeded_sam


def picture() -> np.ndarray:
    """96 x 128, BGR as OpenCV has it: black, with a red square."""
    image = np.zeros((96, 128, 3), dtype=np.uint8)
    image[24:72, 32:80] = (0, 0, 255)
    return image


@pytest.fixture(scope="module")
def tiny() -> SamSegmenter:
    return SamSegmenter(seeded_sam(TINY_MOBILE_SAM), "tiny")


def test_the_documentation_s_example_runs(tmp_path: Path) -> None:
    path = str(tmp_path / "square.png")
    cv2.imwrite(path, picture())
    predictor = Predictor(ColourSam())

    predictor.set_image(path)
    predictor.set_image(cv2.imread(path))
    by_box = predictor(bboxes=[30, 20, 82, 76])
    by_point = predictor(points=[50, 50], labels=[1])
    predictor.reset_image()

    for results in (by_box, by_point):
        assert results.masks.shape == (1, 96, 128)
        assert results.masks[0, 50, 50]
        assert not results.masks[0, 5, 5]
        assert results.image[50, 50].tolist() == [255, 0, 0]
        assert results.model == "colour_sam"
    with pytest.raises(RuntimeError, match="no image: call set_image first"):
        predictor(points=[50, 50], labels=[1])


def test_an_image_is_embedded_once_for_many_prompts() -> None:
    sam = ColourSam()
    predictor = Predictor(sam)

    predictor.set_image(picture())
    for x in (10, 50, 100):
        predictor(points=[x, 50])

    assert sam.embedded == [(96, 128)]


def test_a_source_in_the_call_is_not_kept() -> None:
    predictor = Predictor(ColourSam())
    predictor.set_image(picture())

    other = predictor(np.full((64, 64, 3), 9, np.uint8), points=[5, 5])

    assert other.masks.shape == (1, 64, 64)
    assert predictor(points=[50, 50]).masks.shape == (1, 96, 128)


def test_without_prompts_everything_is_segmented() -> None:
    predictor = Predictor(ColourSam())
    predictor.set_image(picture())

    results = predictor(points_stride=4, crop_n_layers=0)

    assert len(results.masks) == 2
    assert {tuple(box) for box in results.boxes.tolist()} == {(0, 0, 128, 96), (32, 24, 80, 72)}
    assert results.low_res_logits is None
    assert results.prompts == ()


def test_answers_are_those_of_the_segmenter(tiny: SamSegmenter) -> None:
    predictor = Predictor(tiny)
    predictor.set_image(PIL.Image.fromarray(picture()))

    results = predictor(points=[[[50, 50], [10, 10]]], labels=[[1, 0]], bboxes=[30, 20, 82, 76])

    assert results.masks.shape == (1, 96, 128)
    (again,) = tiny.segment(tiny.embed(picture()), results.prompts)
    assert np.array_equal(results.masks[0], again.mask)
    assert results.low_res_logits is not None
    assert np.array_equal(results.low_res_logits[0], again.low_res_logits)


def test_an_answer_s_logits_are_a_prompt(tiny: SamSegmenter) -> None:
    predictor = Predictor(tiny)
    predictor.set_image(picture())
    first = predictor(points=[50, 50])
    assert first.low_res_logits is not None

    second = predictor(points=[[[50, 50], [70, 60]]], masks=first.low_res_logits)

    assert second.low_res_logits is not None
    assert not np.array_equal(first.low_res_logits, second.low_res_logits)


def test_all_candidates_of_a_click_come_on_demand(tiny: SamSegmenter) -> None:
    predictor = Predictor(tiny)
    predictor.set_image(picture())

    results = predictor(points=[50, 50], multimask=True)

    assert len(results.masks) == 3
    assert results.scores.tolist() == sorted(results.scores.tolist(), reverse=True)
    assert predictor(points=[50, 50]).scores.tolist() == results.scores[:1].tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"points": [500, 50]}, r"point \(500.0, 50.0\) is outside"),
        ({"points": [50, float("nan")]}, "nan"),
        ({"points": []}, "empty"),
        ({"points": [[1, 2], [3, 4]], "labels": [1]}, "labels for 1 objects"),
        ({"bboxes": [80, 20, 30, 76]}, r"box \(80.0, 20.0, 30.0, 76.0\) has no area"),
        ({"bboxes": [30, 20, 30, 76]}, "has no area"),
        ({"points": [5, 5], "masks": np.zeros((7, 7))}, r"\(7, 7\)"),
        ({"points": [5, 5], "points_stride": 4}, "points_stride: only for segmenting everything"),
        ({"verbose": True}, "unknown parameter 'verbose'"),
        ({"labels": [1]}, "without points"),
    ],
)
def test_bad_input_is_named(tiny: SamSegmenter, arguments: dict[str, object], message: str) -> None:
    predictor = Predictor(tiny)
    predictor.set_image(picture())

    with pytest.raises(ValueError, match=message):
        predictor(**arguments)


@pytest.mark.parametrize("image", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.float32), "nowhere.png"])
def test_bad_images_are_refused_and_the_old_one_stays(image: object) -> None:
    predictor = Predictor(ColourSam())
    predictor.set_image(picture())

    with pytest.raises(ValueError, match=r"image|nowhere"):
        predictor.set_image(image)

    assert predictor(points=[50, 50]).masks.shape == (1, 96, 128)
