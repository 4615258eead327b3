"""OpenVINO beside the authors' code: MobileSAM and YOLOv8 in float32 on the same weights.

Tolerance: OpenVINO fuses layers and sums in another order; 1e-3 of the range of the values, and masks that differ in
one pixel of a thousand. Other models of the family are compared with PyTorch (tests/model/sam2/test_converted.py).
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from sam_model.sam.segmenter import SamSegmenter
from sam_model.sam.sizes import MOBILE_SAM
from sam_model.types import Point, Prompt
from sam_model.yolo.checkpoint import load_yolo
from sam_model.yolo.converted_yolo import ConvertedYolo
from sam_model.yolo.detector import YoloDetector
from sam_testing.reference_pairs import image_named, pair_called
from sam_testing.seeded_checkpoints import seeded_sam
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
