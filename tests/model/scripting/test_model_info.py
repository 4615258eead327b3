import pytest

from sam_model.classical.segmenter import ClassicalSegmenter
from sam_model.sam.segmenter import SamSegmenter
from sam_model.scripting.model_info import model_info
from sam_model.yolo.checkpoint import YoloModel
from sam_model.yolo.detector import YoloDetector
from sam_model.yolo.fast_sam import FastSamSegmenter
from sam_testing.seeded_checkpoints import TINY_MOBILE_SAM, seeded_sam
from sam_testing.yolo_files import seeded_yolo


def test_each_network_has_its_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    sam = SamSegmenter(seeded_sam(TINY_MOBILE_SAM), "tiny", dtype="bfloat16")
    yolo = YoloDetector(YoloModel(seeded_yolo(), ("a", "b", "c")), name="tiny_yolo")
    fast_sam = FastSamSegmenter(YoloModel(seeded_yolo(classes=1, has_masks=True), ("object",)))

    for model, network in ((sam, sam.model), (yolo, yolo.network), (fast_sam, fast_sam.detector.network)):
        info = model_info(model)

        assert info.name == model.name
        assert info.parameters == sum(parameter.numel() for parameter in network.parameters())
        assert info.nbytes == sum(parameter.nbytes for parameter in network.parameters())
        assert info.layers > 50
        assert capsys.readouterr().out == f"{info}\n"
        assert f"{model.name}: {info.layers} layers, {info.parameters:,} parameters" in str(info)
        assert str(info).endswith("on cpu")


def test_details_are_the_parameters_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    sam = SamSegmenter(seeded_sam(TINY_MOBILE_SAM), "tiny")

    model_info(sam, detailed=True)

    assert "mask_decoder.iou_token.weight " in capsys.readouterr().out


def test_a_model_without_a_network_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    info = model_info(ClassicalSegmenter(), verbose=False)

    assert str(info) == "classical: not a PyTorch network, on cpu"
    assert capsys.readouterr().out == ""
