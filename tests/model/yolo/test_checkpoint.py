from pathlib import Path

import pytest
import torch

from sam_model.weights.errors import BrokenWeightsError
from sam_model.yolo.checkpoint import load_yolo
from sam_model.yolo.sizes import SIZES
from sam_model.yolo.yolo_v8 import yolo_v8
from sam_testing.yolo_files import CLASSES, SIZE_N, seeded_yolo, write_yolo_file
from sam_testing.yolo_networks import small_yolo

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
        network = yolo_v8(size, 80, has_masks)

    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[letter, has_masks]


@pytest.mark.parametrize("is_legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("has_masks", [False, True], ids=["detect", "segment"])
def test_a_file_gives_task_size_class_names_and_weights(tmp_path: Path, has_masks: bool, is_legacy: bool) -> None:
    path = write_yolo_file(tmp_path / "best.pt", has_masks=has_masks, is_legacy=is_legacy)

    model = load_yolo(path)

    assert model.name == ("yolov8tiny-seg" if has_masks else "yolov8tiny")
    assert model.class_names == CLASSES
    expected = seeded_yolo(has_masks=has_masks).half().float().state_dict()
    assert model.network.state_dict().keys() == expected.keys()
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("is_legacy", [False, True], ids=["zip", "legacy"])
def test_of_a_training_s_checkpoint_the_smoothed_model_is_taken(tmp_path: Path, is_legacy: bool) -> None:
    path = write_yolo_file(tmp_path / "last.pt", is_legacy=is_legacy, is_of_training=True)

    assert load_yolo(path).class_names == CLASSES


def test_the_size_s_letter_is_recognised_by_the_first_layer(tmp_path: Path) -> None:
    model = load_yolo(write_yolo_file(tmp_path / "best.pt", SIZE_N))

    assert model.size_letter == "n"
    assert load_yolo(write_yolo_file(tmp_path / "tiny.pt")).size_letter == ""


def test_class_names_may_be_a_list(tmp_path: Path) -> None:
    path = write_yolo_file(tmp_path / "best.pt", names=["a", "b", "c"])

    assert load_yolo(path).class_names == ("a", "b", "c")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"task": "PoseModel"},
            "best.pt is a model of the task pose; needed: detect or segment, .* export model=best.pt",
        ),
        ({"task": "OBBModel"}, "best.pt is a model of the task obb; needed: .* format=onnx"),
        ({"task": "ClassificationModel"}, "is a model of the task classify, which finds no boxes"),
        ({"task": "RTDETRDetectionModel"}, "is a model of the task detect with RT-DETR"),
        ({"task": "SomethingModel"}, "is a model of the task SomethingModel"),
        ({"names": ["a", "b"]}, "best.pt has 3 classes and 2 class names"),
        ({"names": None}, "best.pt has no class names"),
        ({"names": {0: "a", 2: "b", 3: "c"}}, "best.pt has no class names"),
        ({"strides": (4.0, 8.0, 16.0)}, r"strides \[4.0, 8.0, 16.0\]; needed: \[8, 16, 32\]"),
        ({"strides": (4.0, 8.0, 32.0)}, r"has strides \[4, 8, 32\], which are not those of its maps"),
        ({"task": "SegmentationModel"}, "is a model of the task segment, but its head is for another one"),
        ({"has_masks": True, "task": "DetectionModel"}, "is a model of the task detect, but its head is for another"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    path = write_yolo_file(tmp_path / "best.pt", **changes)  # type: ignore[arg-type]

    with pytest.raises(BrokenWeightsError, match=message):
        load_yolo(path)


@pytest.mark.parametrize("is_legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.999])
def test_a_file_that_is_cut_off_is_named(tmp_path: Path, part: float, is_legacy: bool) -> None:
    path = write_yolo_file(tmp_path / "best.pt", is_legacy=is_legacy)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])

    with pytest.raises(BrokenWeightsError, match=r"best\.pt"):
        load_yolo(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x02}q\x00."], ids=["empty", "text", "a pickled dict"])
def test_what_is_no_file_of_pytorch_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "best.pt"
    path.write_bytes(content)

    with pytest.raises(BrokenWeightsError, match=r"best\.pt"):
        load_yolo(path)


def test_a_plain_state_dict_is_no_model_of_ultralytics(tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    torch.save({"weight": torch.ones(2)}, path)

    with pytest.raises(BrokenWeightsError, match=r"best\.pt has tensors without layers"):
        load_yolo(path)


@pytest.mark.parametrize("is_fused", [False, True], ids=["with norms", "fused"])
@pytest.mark.parametrize("has_masks", [False, True], ids=["detect", "segment"])
def test_a_network_of_any_known_layers_is_read(tmp_path: Path, has_masks: bool, is_fused: bool) -> None:
    pixels = torch.rand(1, 3, 96, 64)
    expected = small_yolo(has_masks).half().float()
    path = write_yolo_file(tmp_path / "best.pt", network=small_yolo(has_masks), is_fused=is_fused)

    model = load_yolo(path)

    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in model.network.modules()) is not is_fused
    for one_to_one in (False, True):
        with torch.inference_mode():
            found, wanted = model.network(pixels, one_to_one=one_to_one), expected(pixels, one_to_one=one_to_one)
        assert found.is_one_to_one is one_to_one
        tolerance = 0.05 if is_fused else 0.0  # the norms were fused in half precision
        assert (found.boxes - wanted.boxes).abs().max() <= tolerance * 64
        assert (found.class_scores - wanted.class_scores).abs().max() <= tolerance
        assert (found.prototypes is not None) is has_masks
        if found.coefficients is not None and wanted.coefficients is not None:
            assert (found.coefficients - wanted.coefficients).abs().max() <= tolerance * 10
    assert wanted.class_scores.std() > 0.01


@pytest.mark.parametrize("one_to_one", [False, True])
def test_of_a_head_with_one_set_of_branches_that_set_is_used(tmp_path: Path, one_to_one: bool) -> None:
    network = small_yolo(is_one_to_one=one_to_one, is_one_to_many=not one_to_one)
    loaded = load_yolo(write_yolo_file(tmp_path / "best.pt", network=network)).network

    found = loaded(torch.rand(1, 3, 64, 64), one_to_one=not one_to_one)

    assert found.is_one_to_one is one_to_one


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (torch.nn.PReLU(), r"has a layer of type PReLU at model.2"),
        (torch.nn.Linear(3, 3), r"has a layer of type Linear at model.2, which .* export model=best.pt format=onnx"),
    ],
)
def test_a_layer_that_no_known_family_has_is_named(tmp_path: Path, layer: torch.nn.Module, message: str) -> None:
    network = small_yolo()
    network.model[2] = layer

    with pytest.raises(BrokenWeightsError, match=message):
        load_yolo(write_yolo_file(tmp_path / "best.pt", network=network))


@pytest.mark.parametrize(
    ("sources", "message"),
    [((8, 2), "its layers do not fit together"), ((8, 99), "model.9 has f=a list"), ((9, 9), "model.9 has f=a list")],
)
def test_layers_that_do_not_fit_together_are_refused(tmp_path: Path, sources: tuple[int, int], message: str) -> None:
    network = small_yolo()
    network.sources = (*network.sources[:9], sources, *network.sources[10:])

    with pytest.raises(BrokenWeightsError, match=message):
        load_yolo(write_yolo_file(tmp_path / "best.pt", network=network))


def test_weights_of_other_shapes_than_the_layer_says_are_refused(tmp_path: Path) -> None:
    network = small_yolo()
    network.get_submodule("model.1.conv").weight = torch.nn.Parameter(torch.ones(16, 8, 3, 3))

    with pytest.raises(BrokenWeightsError, match=r"1 of another shape: model.1.conv.weight \(16, 8, 3, 3\) instead of"):
        load_yolo(write_yolo_file(tmp_path / "best.pt", network=network))
