import threading

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam_model.types import Image
from sam_model.yolo.checkpoint import YoloModel
from sam_model.yolo.detector import YoloDetector
from sam_model.yolo.letterbox import letterbox
from sam_testing.waiting_calls import call_at_once
from sam_testing.yolo_files import CLASSES, seeded_yolo


def detector(has_masks: bool = False, **settings: object) -> YoloDetector:
    model = YoloModel(seeded_yolo(has_masks=has_masks), CLASSES)
    return YoloDetector(model, image_size=64, **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def image() -> Image:
    return np.random.default_rng(0).integers(0, 256, (50, 80, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def boxes_only() -> YoloDetector:
    return detector()


@pytest.fixture(scope="module")
def with_masks() -> YoloDetector:
    return detector(has_masks=True)


def test_objects_come_highest_scoring_first_with_class_names_and_inside_the_image(
    boxes_only: YoloDetector, image: Image
) -> None:
    found = boxes_only.detect(image, score_threshold=0.3)

    scores = [one.score for one in found]
    assert len(found) > 3
    assert scores == sorted(scores, reverse=True)
    for one in found:
        assert one.class_name == CLASSES[one.class_id]
        assert 0 <= one.box[0] <= one.box[2] <= 80
        assert 0 <= one.box[1] <= one.box[3] <= 50
        assert one.mask is None


def test_masks_lie_in_their_boxes_and_none_is_empty(with_masks: YoloDetector, image: Image) -> None:
    found = with_masks.detect(image, score_threshold=0.3)

    assert len(found) > 3
    for one in found:
        assert one.mask is not None
        assert one.mask.shape == (50, 80)
        rows, columns = np.nonzero(one.mask)
        assert len(rows) > 0
        assert round(one.box[0]) <= columns.min()
        assert columns.max() < round(one.box[2])
        assert round(one.box[1]) <= rows.min()
        assert rows.max() < round(one.box[3])


def test_a_network_with_fused_norms_answers_as_before(image: Image) -> None:
    framed = letterbox((50, 80), 64).apply(image)
    network = seeded_yolo(has_masks=True)
    with torch.inference_mode():
        plain = network(torch.from_numpy(framed).permute(2, 0, 1)[None].float() / 255)

    fused = detector(has_masks=True).raw_detections(framed)

    assert plain.prototypes is not None
    assert fused.prototypes is not None
    assert torch.allclose(fused.boxes, plain.boxes, atol=1e-3)
    assert torch.allclose(fused.class_scores, plain.class_scores, atol=1e-4)
    assert torch.allclose(fused.prototypes, plain.prototypes, atol=1e-3)


def test_half_precision_answers_nearly_the_same(boxes_only: YoloDetector, image: Image) -> None:
    framed = letterbox((50, 80), 64).apply(image)

    half = detector(dtype="bfloat16").raw_detections(framed)

    assert half.class_scores.dtype == torch.float32
    assert (half.class_scores - boxes_only.raw_detections(framed).class_scores).abs().mean() < 0.05


def test_no_object_is_no_error(boxes_only: YoloDetector, image: Image) -> None:
    assert boxes_only.detect(image, score_threshold=1.0) == []
    assert boxes_only.detect(image, max_detections=0) == []


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 200, 3), (33, 2, 3)])
def test_images_of_any_shape_are_looked_at(with_masks: YoloDetector, shape: tuple[int, ...]) -> None:
    for one in with_masks.detect(np.full(shape, 90, dtype=np.uint8), score_threshold=0.1):
        assert one.mask is not None
        assert one.mask.shape == shape[:2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"score_threshold": 1.5}, "score_threshold=1.5; needed: 0..1"),
        ({"iou_threshold": float("nan")}, "iou_threshold=nan; needed: 0..1"),
        ({"max_detections": -1}, "max_detections=-1"),
        ({"image_size": 100}, "image_size=100; needed: a positive multiple of 32"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(
    boxes_only: YoloDetector, image: Image, settings: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        boxes_only.detect(image, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8), [[1]]]
)
def test_what_is_no_image_is_named(boxes_only: YoloDetector, image: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="needed: "):
        boxes_only.detect(image)


def test_the_fingerprint_names_model_weights_and_settings(boxes_only: YoloDetector) -> None:
    other = YoloDetector(YoloModel(seeded_yolo(seed=1), CLASSES), image_size=64)
    larger = YoloDetector(YoloModel(seeded_yolo(), CLASSES), image_size=96)

    assert boxes_only.fingerprint.startswith("yolo-")
    assert detector().fingerprint == boxes_only.fingerprint
    assert len({one.fingerprint for one in (boxes_only, other, larger, detector(dtype="bfloat16"))}) == 4


def test_threads_may_share_one(with_masks: YoloDetector) -> None:
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (40 + 8 * i, 60, 3), dtype=np.uint8) for i in range(4)]
    expected = [with_masks.detect(image) for image in images]
    found: dict[int, object] = {}

    def work(place: int) -> None:
        found[place] = with_masks.detect(images[place])

    threads = [threading.Thread(target=work, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for place in range(4):
        one, other = expected[place], found[place]
        assert isinstance(other, list)
        assert [(d.box, d.score, d.class_id) for d in one] == [(d.box, d.score, d.class_id) for d in other]


def test_images_that_several_threads_detect_at_once_are_a_batch_per_size(
    with_masks: YoloDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (height, 60, 3), dtype=np.uint8) for height in (60, 25, 60, 60)]
    together = detector(has_masks=True, images_at_once=4)
    outputs, batches = together.network.outputs, []

    def counted(x: Tensor, *, one_to_one: bool) -> tuple[Tensor, ...]:
        batches.append(tuple(x.shape))
        return outputs(x, one_to_one=one_to_one)

    monkeypatch.setattr(together.network, "outputs", counted)
    found = call_at_once(together._batches, together.detect, images)

    assert batches == [(3, 3, 64, 64), (1, 3, 32, 64)]
    for image, objects in zip(images, found, strict=True):
        expected = with_masks.detect(image)
        assert len(objects) == len(expected) > 0
        for one, other in zip(objects, expected, strict=True):
            assert one.box == pytest.approx(other.box, abs=1e-3)  # batches sum in another order
            assert one.score == pytest.approx(other.score, abs=1e-4)
            assert one.mask is not None
            assert other.mask is not None
            assert (one.mask != other.mask).mean() < 0.01
