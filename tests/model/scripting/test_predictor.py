from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import torch

from sam_model.sam.segmenter import SamSegmenter
from sam_model.scripting.predictor import Predictor
from sam_model.scripting.results import Results
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


def masks_of(results: list[Results]) -> np.ndarray:
    """The masks of the only image."""
    (only,) = results
    return only.masks.data.numpy()


def test_the_documentation_s_example_runs(tmp_path: Path) -> None:
    path = str(tmp_path / "square.png")
    cv2.imwrite(path, picture())
    predictor = Predictor(ColourSam())

    predictor.set_image(path)
    by_box = predictor(bboxes=[30, 20, 82, 76])
    predictor.set_image(cv2.imread(path))
    by_point = predictor(points=[50, 50], labels=[1])
    predictor.reset_image()

    assert [by_box[0].path, by_point[0].path] == [path, "image0.jpg"]
    for results in (by_box, by_point):
        assert masks_of(results).shape == (1, 96, 128)
        assert masks_of(results)[0, 50, 50]
        assert not masks_of(results)[0, 5, 5]
        assert results[0].image[50, 50].tolist() == [255, 0, 0]
        assert results[0].orig_img[50, 50].tolist() == [0, 0, 255]
        assert results[0].model == "colour_sam"
        assert results[0].names == {0: "0"}
        assert results[0].speed["inference"] > 0
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

    assert masks_of(other).shape == (1, 64, 64)
    assert masks_of(predictor(points=[50, 50])).shape == (1, 96, 128)


def test_one_image_is_set_and_not_several() -> None:
    predictor = Predictor(ColourSam())

    with pytest.raises(ValueError, match="the source has several images; needed: one"):
        predictor.set_image([picture(), picture()])


def test_without_prompts_everything_is_segmented() -> None:
    predictor = Predictor(ColourSam())
    predictor.set_image(picture())

    (results,) = predictor(points_stride=4, crop_n_layers=0)

    assert len(results) == 2
    assert {tuple(box) for box in results.boxes.xyxy.tolist()} == {(0, 0, 127, 95), (32, 24, 79, 71)}
    assert results.low_res_logits is None
    assert results.stability_scores.shape == (2,)
    assert results.prompts == ()


def test_masks_need_a_higher_score_than_conf_with_and_without_prompts() -> None:
    predictor = Predictor(ColourSam())  # its masks are of 0.95, 0.9 and 0.5
    predictor.set_image(picture())

    def count(**arguments: object) -> list[int]:
        (results,) = predictor(**arguments)
        return results.boxes.cls.int().tolist()

    assert count(points=[50, 50], multimask_output=True) == [0, 1, 2]
    assert count(points=[50, 50], multimask_output=True, conf=0.6) == [0, 1]
    assert count(points=[50, 50], conf=0.96) == []
    assert len(count(points_stride=4)) == 2
    assert count(points_stride=4, conf=0.96) == []
    assert len(count(points_stride=4, conf_thres=0.4, iou=1.0)) > len(count(points_stride=4, iou=1.0)) > 2
    assert predictor(points=[50, 50], conf=0.96)[0].names == {0: "0"}


def test_answers_are_those_of_the_segmenter(tiny: SamSegmenter) -> None:
    predictor = Predictor(tiny)
    predictor.set_image(PIL.Image.fromarray(picture()))

    (results,) = predictor(points=[[[50, 50], [10, 10]]], labels=[[1, 0]], bboxes=[30, 20, 82, 76], conf=0)

    (again,) = tiny.segment(tiny.embed(picture()), results.prompts)
    assert np.array_equal(results.masks.data.numpy(), [again.mask])
    assert results.scores.tolist() == pytest.approx([again.score])
    assert np.array_equal(results.low_res_logits[0], again.low_res_logits)
    assert 0 <= results.stability_scores[0] <= 1


def test_an_answer_s_logits_are_a_prompt(tiny: SamSegmenter) -> None:
    predictor = Predictor(tiny, {"conf": 0.0})
    predictor.set_image(picture())
    (first,) = predictor(points=[50, 50])

    (second,) = predictor(points=[[[50, 50], [70, 60]]], masks=first.low_res_logits)

    assert not np.array_equal(first.low_res_logits, second.low_res_logits)


def test_a_mask_of_any_size_is_a_prompt(tiny: SamSegmenter) -> None:
    predictor = Predictor(tiny, {"conf": 0.0})
    predictor.set_image(picture())
    mask = np.zeros((96, 128), bool)
    mask[24:72, 32:80] = True

    def logits(**prompts: object) -> np.ndarray:
        (results,) = predictor(**prompts)
        return results.low_res_logits

    full_size = logits(masks=mask)
    assert full_size.shape == (1, 32, 32)
    assert np.allclose(logits(masks=[mask, mask])[1:], full_size, atol=1e-4)
    assert np.array_equal(logits(masks=torch.from_numpy(mask)[None]), full_size)
    twice = np.kron(mask, np.ones((2, 2))).astype(np.uint8)
    assert np.array_equal(logits(masks=twice), full_size)
    assert not np.array_equal(logits(masks=~mask), full_size)
    assert logits(masks=mask, points=[50, 50]).shape == (1, 32, 32)


def test_all_candidates_of_a_click_come_on_demand_in_the_decoders_order(tiny: SamSegmenter) -> None:
    predictor = Predictor(tiny, {"conf": 0.0})
    predictor.set_image(picture())

    (results,) = predictor(points=[50, 50], multimask_output=True)
    (one,) = predictor(points=[50, 50])
    (two,) = predictor(points=[[50, 50], [20, 20]], multimask_output=True)

    assert len(one) == 1
    answer = tiny.low_res_masks(
        tiny.embed(np.ascontiguousarray(picture()[..., ::-1])),
        torch.tensor([[[50.0, 50]]]),
        torch.tensor([[1]]),
        multimask=True,
    )
    assert results.scores.tolist() == pytest.approx(answer.iou_predictions[0].tolist())
    assert len(two.names) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"points": [500, 50]}, r"point \(500.0, 50.0\) is outside"),
        ({"points": [50, float("nan")]}, "nan"),
        ({"points": []}, "empty"),
        ({"points": [[1, 2], [3, 4]], "labels": [1]}, "labels for 1 objects"),
        ({"bboxes": [80, 20, 30, 76]}, r"box \(80.0, 20.0, 30.0, 76.0\) has no area"),
        ({"bboxes": [30, 20, 30, 76]}, "has no area"),
        ({"points": [5, 5], "points_stride": 4}, "points_stride: only for segmenting everything"),
        ({"points": [5, 5], "iou": 0.5}, "iou: only for segmenting everything"),
        ({"vorbose": True}, "unknown parameter 'vorbose'"),
        ({"labels": [1]}, "without points"),
        ({"points": [5, 5], "conf": 1.5}, r"conf=1.5; needed: 0..1"),
        ({"points": [5, 5], "classes": [0]}, "classes=\\[0\\] is not possible with SAM: SAM has no classes"),
        ({"max_det": 5}, "max_det=5 is not possible with SAM"),
        ({"agnostic_nms": True}, "agnostic_nms=True is not possible with SAM"),
        ({"points": [5, 5], "imgsz": 640}, "needed: imgsz=1024"),
        ({"points": [5, 5], "retina_masks": False}, "retina_masks=False is not possible with SAM"),
        ({"points": [5, 5], "augment": True}, "augment=True is not possible with SAM: test-time augmentation"),
        ({"points": [5, 5], "device": "abacus"}, "unknown device 'abacus'"),
    ],
)
def test_bad_input_is_named(tiny: SamSegmenter, arguments: dict[str, object], message: str) -> None:
    predictor = Predictor(tiny)
    predictor.set_image(picture())

    with pytest.raises(ValueError, match=message):
        predictor(**arguments)


def test_arguments_with_only_one_value_may_be_given(tiny: SamSegmenter) -> None:
    predictor = Predictor(tiny, {"iou": 0.7})
    predictor.set_image(picture())

    (results,) = predictor(
        points=[50, 50], imgsz=1024, retina_masks=True, half=False, device="cpu", conf=0, augment=False
    )

    assert len(results.names) == 1


@pytest.mark.parametrize("image", [np.zeros((9, 9), np.float64), np.zeros((9, 9, 3), np.float32), "nowhere.png"])
def test_bad_images_are_refused_and_the_old_one_stays(image: object) -> None:
    predictor = Predictor(ColourSam())
    predictor.set_image(picture())

    with pytest.raises(ValueError, match=r"image|nowhere"):
        predictor.set_image(image)

    assert masks_of(predictor(points=[50, 50])).shape == (1, 96, 128)
