"""OpenVINO beside the authors' code: each family in float32, on the same weights.

Tolerance: OpenVINO fuses layers and sums in another order; 1e-3 of the range of the values, and masks that differ in
one pixel of a thousand.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.parity import test_efficient_tam_parity as tam
from tests.parity import test_hq_sam_parity as hq
from tests.parity import test_sam2_parity as sam2
from torch import Tensor

from sam_model.sam.segmenter import SamSegmenter
from sam_model.sam.sizes import HQ_SIZES, MOBILE_SAM
from sam_model.sam_checkpoints import SIZES, AnySize
from sam_model.types import Image, Point, Prompt
from sam_model.yolo.checkpoint import load_yolo
from sam_model.yolo.converted_yolo import ConvertedYolo
from sam_model.yolo.detector import YoloDetector
from sam_model.yolo.fast_sam import FastSamSegmenter
from sam_testing.reference_pairs import image_named, pair_called
from sam_testing.seeded_checkpoints import TINY_VIT_SAM, seeded_sam, seeded_state
from sam_testing.ultralytics_files import ultralytics_image, write_ultralytics_file

pytest.importorskip("openvino")

pytestmark = [pytest.mark.parity, pytest.mark.timeout(600)]

TOLERANCE = 1e-3  # of the range of the reference's values
WRONG_PIXELS = 1e-3  # of a mask


def test_mobile_sam_equals_the_reference(tmp_path: Path) -> None:
    pair, image = pair_called("mobile_sam"), image_named("landscape")
    predictor = pair.predictor_type(pair.reference)
    predictor.set_image(image)
    ours = SamSegmenter(
        seeded_sam(MOBILE_SAM), "mobile_sam", "cpu", "float32", runtime="openvino", converted_dir=tmp_path
    )
    point, box = Prompt((Point(200, 110),)), Prompt(box=(100, 40, 350, 300))
    ours.segment(ours.embed(image), [point, box])  # starts the conversions
    assert ours._converted is not None
    assert ours._converted.wait(500)

    embedding = ours.embed(image)
    answers = ours.segment(embedding, [point, box])

    theirs = predictor.features
    assert (embedding.features - theirs).abs().max() <= TOLERANCE * (theirs.max() - theirs.min())
    masks, iou, _ = predictor.predict(np.array([[200, 110]]), np.array([1]), multimask_output=True)
    box_masks, box_iou, _ = predictor.predict(box=np.array(box.box), multimask_output=False)
    expected = [(masks[iou.argmax()], iou.max()), (box_masks[0], box_iou[0])]
    for answer, (mask, score) in zip(answers, expected, strict=True):
        assert abs(answer.score - float(score)) <= TOLERANCE
        assert (answer.mask != mask).mean() <= WRONG_PIXELS


def converted(size: AnySize, folder: Path, image: Image, seed: int = 0) -> SamSegmenter:
    """Return a segmenter whose networks OpenVINO runs."""
    ours = SamSegmenter(seeded_sam(size, seed), size.name, "cpu", "float32", runtime="openvino", converted_dir=folder)
    ours.segment(ours.embed(image), [Prompt((Point(20, 11),))])  # starts the conversions
    assert ours._converted is not None
    assert ours._converted.wait(500)
    return ours


def test_a_plain_vision_transformer_equals_sam(tiny: tuple[Any, SamSegmenter], tmp_path: Path) -> None:
    from segment_anything import SamPredictor

    image, point, box = image_named("landscape"), np.array([[200, 110]]), np.array([100, 40, 350, 300])
    predictor = SamPredictor(tiny[0])
    predictor.set_image(image)
    ours = converted(TINY_VIT_SAM, tmp_path, image, seed=3)

    embedding = ours.embed(image)

    assert difference(embedding.features, predictor.features) <= TOLERANCE
    given = torch.from_numpy(point)[None], torch.tensor([[1]]), torch.from_numpy(box)[None]
    for multimask in (True, False):
        _, iou, low = predictor.predict(point, np.array([1]), box, multimask_output=multimask)
        answer = ours.low_res_masks(embedding, *given, multimask=multimask)
        assert difference(answer.logits[0], torch.from_numpy(low)) <= TOLERANCE
        assert np.abs(answer.iou_predictions[0].numpy() - iou).max() <= TOLERANCE


def test_hq_sam_equals_the_reference(tmp_path: Path) -> None:
    size, image = HQ_SIZES["sam_hq_tiny"], image_named("landscape")
    package = hq.reference_package()
    reference = package.sam_model_registry["vit_tiny"]()
    reference.load_state_dict(seeded_state(size))
    predictor = package.SamPredictor(reference.eval())
    predictor.set_image(image)
    ours = converted(size, tmp_path, image)
    embedding = ours.embed(image)

    assert difference(embedding.features, predictor.features) <= TOLERANCE
    for question in hq.QUESTIONS.values():
        for multimask in (True, False):
            _, iou, low = hq.reference_answer(predictor, embedding.image_size, question, multimask)
            answer = ours.low_res_masks(embedding, **hq.in_pixels(embedding.image_size, question), multimask=multimask)
            assert difference(answer.logits, low) <= TOLERANCE
            assert (answer.iou_predictions - iou).abs().max() <= TOLERANCE
            assert ((answer.logits > 0) != (low > 0)).float().mean() <= WRONG_PIXELS


def test_efficient_tam_equals_the_composed_reference(tmp_path: Path) -> None:
    name, image = "efficienttam_ti_512x512", image_named("landscape")
    predictor = tam.reference_predictor(name)
    predictor.set_image(image)
    ours = converted(SIZES[name], tmp_path, image)
    embedding = ours.embed(image)

    assert difference(embedding.features, predictor._features["image_embed"]) <= TOLERANCE
    for question in tam.QUESTIONS.values():
        for multimask in (True, False):
            _, iou, low = predictor.predict(**question, multimask_output=multimask)
            answer = ours.low_res_masks(embedding, **tam.as_tensors(question), multimask=multimask)
            logits = answer.logits[0].clamp(-32, 32)
            assert difference(logits, torch.from_numpy(low)) <= TOLERANCE
            assert np.abs(answer.iou_predictions[0].numpy() - iou).max() <= TOLERANCE
            assert ((logits.numpy() > 0) != (low > 0)).mean() <= WRONG_PIXELS


def test_sam_2_equals_the_reference(tmp_path: Path) -> None:
    name = "sam2.1_hiera_tiny"
    predictor, _ = sam2.pair_called(name).embed("landscape")
    ours = converted(SIZES[name], tmp_path, image_named("landscape"))
    embedding = ours.embed(image_named("landscape"))

    assert sam2.largest_difference(sam2.tensors_of(embedding), sam2.features_of(predictor)) <= TOLERANCE
    for question in sam2.QUESTIONS.values():
        for multimask in (True, False):
            theirs = sam2.reference_answer(predictor, question, multimask)
            answer = sam2.our_answer(ours, embedding, question, multimask)
            assert sam2.answers_differ(answer, theirs) <= TOLERANCE
            assert ((answer.full > 0) != (theirs.full > 0)).float().mean() <= WRONG_PIXELS


def test_fast_sam_equals_ultralytics(tmp_path: Path) -> None:
    ultralytics = pytest.importorskip("ultralytics")
    image = ultralytics_image("bus.jpg")
    height, width = image.shape[:2]
    path = write_ultralytics_file(tmp_path / "my-fastsam_s.pt", "yolov8s-seg.yaml", 1, 320)
    settings = {"score_threshold": 0.4, "iou_threshold": 0.5, "runtime": "openvino", "converted_dir": tmp_path}
    ours = FastSamSegmenter(load_yolo(path), image_size=320, **settings)
    ours.embed(image)
    assert isinstance(ours.detector._run, ConvertedYolo)
    assert ours.detector._run.wait(500)
    everything = ours.embed(image)
    embedding = replace(everything, masks=everything.masks[:60])

    for box in ((0.1, 0.1, 0.6, 0.7), (0.5, 0.3, 0.9, 0.95)):
        pixels = (box[0] * width, box[1] * height, box[2] * width, box[3] * height)
        (theirs,) = ultralytics.FastSAM(path)(
            image[..., ::-1], bboxes=[list(pixels)], conf=0.4, iou=0.5, imgsz=320, max_det=60, retina_masks=True,
            device="cpu", verbose=False,
        )  # fmt: skip
        (answer,) = ours.segment(embedding, [Prompt(box=pixels)])
        assert (answer.mask != theirs.masks.data[0].numpy().astype(bool)).mean() <= WRONG_PIXELS


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference, in parts of the range of theirs."""
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / (theirs.max() - theirs.min()))


def test_yolov8_equals_ultralytics(tmp_path: Path) -> None:
    ultralytics = pytest.importorskip("ultralytics")
    image = ultralytics_image("bus.jpg")
    path = write_ultralytics_file(tmp_path / "my-yolov8n-seg.pt", "yolov8n-seg.yaml", side=320)
    ours = YoloDetector(load_yolo(path), "cpu", "float32", 320, runtime="openvino", converted_dir=tmp_path)
    ours.detect(image)
    assert isinstance(ours._run, ConvertedYolo)
    assert ours._run.wait(500)

    found = ours.detect(image, max_detections=20)
    (theirs,) = ultralytics.YOLO(path).predict(
        image[..., ::-1], imgsz=320, max_det=20, iou=0.7, retina_masks=True, verbose=False
    )

    assert len(found) == len(theirs.boxes) > 5
    for one, box, mask in zip(found, theirs.boxes.data, theirs.masks.data, strict=True):
        assert one.class_id == int(box[5])
        assert one.score == pytest.approx(float(box[4]), abs=TOLERANCE)
        assert torch.tensor(one.box).sub(box[:4]).abs().max() <= TOLERANCE * max(image.shape)
        assert one.mask is not None
        assert (one.mask != mask.numpy().astype(bool)).mean() <= WRONG_PIXELS
