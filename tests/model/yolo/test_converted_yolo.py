from pathlib import Path

import numpy as np
import pytest

from sam_model.yolo.checkpoint import YoloModel
from sam_model.yolo.converted_yolo import ConvertedYolo
from sam_model.yolo.detector import YoloDetector
from sam_testing.yolo_files import CLASSES, seeded_yolo

pytest.importorskip("openvino", reason="needs the extra [cpu]")


def test_openvino_finds_what_pytorch_finds_in_images_of_any_size(tmp_path: Path) -> None:
    def detector(runtime: str) -> YoloDetector:
        model = YoloModel(seeded_yolo(has_masks=True), tuple(CLASSES))
        return YoloDetector(model, "cpu", "float32", 64, runtime=runtime, converted_dir=tmp_path)

    images = [np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8) for size in ((50, 80, 3), (90, 40, 3))]
    exact, converted = detector("torch"), detector("openvino")
    converted.detect(images[0], score_threshold=0.3)
    assert isinstance(converted._run, ConvertedYolo)
    assert converted._run.wait(timeout_s=200)

    for image in images:
        expected = exact.detect(image, score_threshold=0.3)
        found = converted.detect(image, score_threshold=0.3)

        assert len(found) == len(expected) > 3
        for one, other in zip(found, expected, strict=True):
            assert one.class_id == other.class_id
            assert one.box == pytest.approx(other.box, abs=0.01)
            assert one.score == pytest.approx(other.score, abs=1e-4)
            assert one.mask is not None
            assert other.mask is not None
            assert (one.mask == other.mask).mean() > 0.999
    assert converted._run.wait(0)  # OpenVINO ran all sizes
    assert converted.fingerprint == exact.fingerprint.replace("float32", "openvino-float32")
