from pathlib import Path

import pytest
import torch

from sam_model.weights.errors import BrokenWeightsError
from sam_model.yolo.checkpoint import load_yolo
from sam_model.yolo.network import YoloV8
from sam_model.yolo.sizes import SIZES
from sam_testing.yolo_files import CLASSES, SIZE_N, TINY, seeded_yolo, write_yolo_file

PARAMETERS = {  # as the model descriptions of Ultralytics 8.3 give them for 80 classes
    ("n", False): 3_157_200,
    ("s", False): 11_166_560,
    ("m", False): 25_902_640,
    ("l", False): 43_691_520,
    ("x", False): 68_229_648,
    ("n", True): 3_409_968,
    ("s", True): 11_821_056,
    ("m", True): 27_285_968,
    ("l", True): 45_997_728,
    ("x", True): 71_827_888,
}


@pytest.mark.parametrize(("letter", "has_masks"), PARAMETERS)
def test_every_size_has_its_number_of_parameters(letter: str, has_masks: bool) -> None:
    size = next(size for size in SIZES if size.letter == letter)
    with torch.device("meta"):
        network = YoloV8(size, 80, has_masks)

    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[letter, has_masks]


@pytest.mark.parametrize("is_legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("has_masks", [False, True], ids=["detect", "segment"])
def test_a_file_gives_task_size_class_names_and_weights(tmp_path: Path, has_masks: bool, is_legacy: bool) -> None:
    path = write_yolo_file(tmp_path / "best.pt", has_masks=has_masks, is_legacy=is_legacy)

    model = load_yolo(path, [TINY])

    assert model.name == ("yolov8tiny-seg" if has_masks else "yolov8tiny")
    assert model.class_names == CLASSES
    expected = seeded_yolo(has_masks=has_masks).half().float().state_dict()
    assert model.network.state_dict().keys() == expected.keys()
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("is_legacy", [False, True], ids=["zip", "legacy"])
def test_of_a_training_s_checkpoint_the_smoothed_model_is_taken(tmp_path: Path, is_legacy: bool) -> None:
    path = write_yolo_file(tmp_path / "last.pt", is_legacy=is_legacy, is_of_training=True)

    assert load_yolo(path, [TINY]).class_names == CLASSES


def test_the_size_is_recognised_by_the_weights(tmp_path: Path) -> None:
    model = load_yolo(write_yolo_file(tmp_path / "best.pt", SIZE_N, is_legacy=False))

    assert model.name == "yolov8n"


def test_a_size_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokenWeightsError, match=r"is not a YOLOv8; its first tensors are model.0.conv.weight"):
        load_yolo(write_yolo_file(tmp_path / "best.pt", TINY))


def test_class_names_may_be_a_list(tmp_path: Path) -> None:
    path = write_yolo_file(tmp_path / "best.pt", names=["a", "b", "c"])

    assert load_yolo(path, [TINY]).class_names == ("a", "b", "c")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "PoseModel"}, "best.pt is a model of the task pose; needed: a YOLOv8 for detect or segment"),
        ({"names": ["a", "b"]}, "best.pt has 3 classes and 2 class names"),
        ({"names": None}, "best.pt has no class names"),
        ({"names": {0: "a", 2: "b", 3: "c"}}, "best.pt has no class names"),
        ({"strides": (4.0, 8.0, 16.0)}, r"strides \[4.0, 8.0, 16.0\]; needed: \[8, 16, 32\]"),
        ({"task": "SegmentationModel"}, "is not a YOLOv8tiny, the most similar model: .* missing: model.22.proto.cv1"),
        ({"has_masks": True, "task": "DetectionModel"}, "unknown: model.22.proto.cv1.conv.weight"),
        ({"task": "SomethingModel"}, "asks for ultralytics.nn.tasks.SomethingModel"),
    ],
)
def test_what_is_no_such_yolov8_is_named(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    path = write_yolo_file(tmp_path / "best.pt", **changes)  # type: ignore[arg-type]

    with pytest.raises(BrokenWeightsError, match=message):
        load_yolo(path, [TINY])


@pytest.mark.parametrize("is_legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.999])
def test_a_file_that_is_cut_off_is_named(tmp_path: Path, part: float, is_legacy: bool) -> None:
    path = write_yolo_file(tmp_path / "best.pt", is_legacy=is_legacy)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])

    with pytest.raises(BrokenWeightsError, match=r"best\.pt"):
        load_yolo(path, [TINY])


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x02}q\x00."], ids=["empty", "text", "a pickled dict"])
def test_what_is_no_file_of_pytorch_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "best.pt"
    path.write_bytes(content)

    with pytest.raises(BrokenWeightsError, match=r"best\.pt"):
        load_yolo(path, [TINY])


def test_a_plain_state_dict_is_no_model_of_ultralytics(tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    torch.save({"weight": torch.ones(2)}, path)

    with pytest.raises(BrokenWeightsError, match="does not hold an Ultralytics model"):
        load_yolo(path, [TINY])
