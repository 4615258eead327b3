"""Small ONNX files in the shapes of the real exports; what they answer depends on the image where that matters."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sam_model.detectors.onnx import OnnxDetector, _provider
from sam_model.registry import load_detector
from sam_model.types import Image
from sam_model.weights.errors import BrokenWeightsError

SIDE = 64
CELLS = 64 + 16 + 4
NAMES = {"names": "{0: 'person', 1: 'dog'}", "stride": "32", "task": "detect"}
Outputs = dict[str, NDArray[Any]]


def write_onnx(
    path: Path, outputs: Outputs, metadata: dict[str, str] | None = None, *, with_size: bool = False,
    sides: Sequence[int | str] = (SIDE, SIDE), adds_brightness: bool = False, kind: int = TensorProto.FLOAT,
) -> Path:  # fmt: skip
    """Write a file whose outputs are constants; with the mean of the image added to the first where asked for."""
    inputs = [helper.make_tensor_value_info("images", kind, [1, 3, *sides])]
    if with_size:
        inputs.append(helper.make_tensor_value_info("orig_target_sizes", TensorProto.INT64, [1, 2]))
    nodes, infos, constants = [], [], []
    for place, (name, values) in enumerate(outputs.items()):
        constants.append(numpy_helper.from_array(values, f"{name}_constant"))
        source = f"{name}_constant"
        if place == 0 and adds_brightness:
            nodes.append(helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0))
            nodes.append(helper.make_node("Add", [source, "mean"], [name]))
        else:
            nodes.append(helper.make_node("Identity", [source], [name]))
        infos.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(values.dtype), values.shape))
    graph = helper.make_graph(nodes, "detector", inputs, infos, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, path)
    return path


@pytest.fixture
def image() -> Image:
    return np.full((100, 200, 3), 51, dtype=np.uint8)  # half of it fits into 64 x 64: 64 x 32, 16 rows above


def yolo_output(classes: int = 2, more: int = 0) -> NDArray[np.float32]:
    """Two boxes at one place, of class 1 (higher score) and class 0, and one of class 0 elsewhere; centre and sides."""
    answer = np.zeros((1, 4 + classes + more, CELLS), dtype=np.float32)
    answer[0, :4, 0] = answer[0, :4, 1] = [16, 32, 16, 8]
    answer[0, :4, 70] = [48, 32, 32, 32]
    answer[0, 4 + 1, 0], answer[0, 4 + 0, 1], answer[0, 4 + 0, 70] = 0.9, 0.8, 0.7
    return answer


def test_a_yolo_export_is_read_with_its_class_names(tmp_path: Path, image: Image) -> None:
    detector = load_detector(str(write_onnx(tmp_path / "yolo11n.onnx", {"output0": yolo_output()}, NAMES)))

    found = detector.detect(image)

    assert detector.name == "yolo11n"
    assert detector.class_names == ("person", "dog")
    assert [(one.class_name, round(one.score, 3)) for one in found] == [("dog", 0.9), ("person", 0.8), ("person", 0.7)]
    scale = 200 / 64
    assert found[0].box == pytest.approx((8 * scale, 12 * scale, 24 * scale, 20 * scale))
    assert found[2].box == pytest.approx((32 * scale, 0, 200, 100))  # cut at the image
    assert found[0].mask is None
    assert len(detector.detect(image, score_threshold=0.75)) == 2
    assert len(detector.detect(image, max_detections=1)) == 1


def test_yolo_sees_colours_from_0_to_1(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "y.onnx", {"output0": yolo_output()}, NAMES, adds_brightness=True)

    found = OnnxDetector(path).detect(np.full((64, 64, 3), 51, dtype=np.uint8))  # 51 is a fifth of 255

    assert max(one.score for one in found) == pytest.approx(0.9 + 0.2)


def test_yolo_with_masks_makes_them(tmp_path: Path, image: Image) -> None:
    output, prototypes = yolo_output(more=32), np.zeros((1, 32, 16, 16), dtype=np.float32)
    prototypes[0, 3] = 1
    output[0, 6 + 3, 0] = 2  # the dog's mask is everything in its box
    output[0, 6 + 3, 70] = -1  # this one's is nothing: it is none
    path = write_onnx(tmp_path / "seg.onnx", {"output0": output, "output1": prototypes}, NAMES)

    found = OnnxDetector(path).detect(image)

    assert [one.class_name for one in found] == ["dog"]
    expected = np.zeros((100, 200), dtype=bool)
    expected[38:63, 25:75] = True  # from 37.5 to 62.5: the rows that start between them
    assert np.array_equal(found[0].mask, expected)


@pytest.mark.parametrize(
    "metadata",
    [
        {"task": "detect", "end2end": "True"},
        {"task": "detect", "args": "{'nms': True}"},
        {"task": "pose", "end2end": "True"},
        {"names": "{0: 'person', 1: 'dog', 2: 'cat'}"},  # an output of 6 columns is no RT-DETR with 3 classes
    ],
)
def test_rows_without_duplicates_are_read_as_they_are(tmp_path: Path, image: Image, metadata: dict[str, str]) -> None:
    rows = np.zeros((1, 10, 6 + 9 * (metadata.get("task") == "pose")), dtype=np.float32)
    rows[0, 0, :6], rows[0, 1, :6] = [8, 28, 24, 36, 0.8, 0], [8, 28, 24, 36, 0.9, 1]
    detector = OnnxDetector(write_onnx(tmp_path / "rows.onnx", {"output0": rows}, NAMES | metadata))

    found = detector.detect(image)

    assert [(one.class_name, round(one.score, 3)) for one in found] == [("dog", 0.9), ("person", 0.8)]
    assert found[0].box == pytest.approx((25, 37.5, 75, 62.5))
    assert len(detector.detect(image, max_detections=1)) == 1


def test_rows_with_coefficients_have_masks(tmp_path: Path, image: Image) -> None:
    rows, prototypes = np.zeros((1, 10, 38), dtype=np.float32), np.zeros((1, 32, 16, 16), dtype=np.float32)
    rows[0, 0, :6], rows[0, 0, 6 + 3], prototypes[0, 3] = [8, 28, 24, 36, 0.8, 0], 2, 1
    detector = OnnxDetector(write_onnx(tmp_path / "rows.onnx", {"output0": rows, "output1": prototypes}, NAMES))

    (found,) = detector.detect(image)

    expected = np.zeros((100, 200), dtype=bool)
    expected[38:63, 25:75] = True
    assert np.array_equal(found.mask, expected)


@pytest.mark.parametrize("task", ["pose", "obb"])
def test_poses_and_rotated_boxes_are_read_as_upright_boxes(tmp_path: Path, image: Image, task: str) -> None:
    output = yolo_output(more=1 if task == "obb" else 6)
    output[0, -1, 0] = np.pi / 2
    path = write_onnx(tmp_path / "other.onnx", {"output0": output}, NAMES | {"task": task})

    found = OnnxDetector(path).detect(image)

    assert [one.class_name for one in found] == ["dog", "person", "person"]
    width, height = (8, 16) if task == "obb" else (16, 8)
    scale = 200 / 64
    expected = (16 - width / 2, 16 - height / 2, 16 + width / 2, 16 + height / 2)
    assert found[0].box == pytest.approx(tuple(edge * scale for edge in expected), abs=1e-4)


def test_a_task_without_boxes_is_named(tmp_path: Path) -> None:
    output = np.zeros((1, 2), dtype=np.float32)

    with pytest.raises(BrokenWeightsError, match=r"best.onnx is a model of the task classify, which finds no boxes"):
        OnnxDetector(write_onnx(tmp_path / "best.onnx", {"output0": output}, NAMES | {"task": "classify"}))


@pytest.mark.parametrize("is_decoded", [False, True])
def test_yolox_is_read_raw_and_decoded(tmp_path: Path, image: Image, is_decoded: bool) -> None:
    output = np.zeros((1, CELLS, 5 + 2), dtype=np.float32)
    if is_decoded:
        output[0, 9] = [12, 10, 16, 8, 0.5, 0.9, 0.1]
        output[0, 83] = [100, 0, 1, 1, 0, 0, 0]  # a centre far from its cell
    else:
        output[0, 9] = [0.5, 0.25, np.log(2), 0, 0.5, 0.9, 0.1]  # column 1, row 1 of 8 x 8 cells of 8 pixels
    path = write_onnx(tmp_path / "yolox.onnx", {"output": output})

    found = OnnxDetector(path).detect(image)

    assert [(one.class_name, round(one.score, 3)) for one in found] == [("class 0", 0.45)]
    scale = 200 / 64  # the image lies at the top left
    assert found[0].box == pytest.approx((4 * scale, 6 * scale, 20 * scale, 14 * scale), abs=1e-4)


def test_yolox_sees_blue_first_and_0_to_255(tmp_path: Path) -> None:
    output = np.zeros((1, CELLS, 6), dtype=np.float32)
    image = np.zeros((64, 64, 3), dtype=np.uint8)
    image[..., 2] = 10  # blue
    detector = OnnxDetector(write_onnx(tmp_path / "x.onnx", {"output": output}))
    seen: list[NDArray[Any]] = []

    class Session:
        def run(self, names: None, feed: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
            seen.append(feed["images"])
            return [output]

    detector._session = Session()  # type: ignore[assignment]
    detector.detect(image, score_threshold=1.0)

    assert (seen[0][0, 0] == 10).all()
    assert (seen[0][0, 1:] == 0).all()


def test_rt_detr_of_ultralytics_is_read(tmp_path: Path, image: Image) -> None:
    output = np.zeros((1, 30, 4 + 2), dtype=np.float32)
    output[0, 5] = [0.5, 0.5, 0.2, 0.4, 0.1, 0.8]
    output[0, 7] = [0.1, 0.1, 0.4, 0.2, 0.9, 0.1]
    detector = OnnxDetector(write_onnx(tmp_path / "rtdetr.onnx", {"output0": output}, NAMES))

    found = detector.detect(image)

    assert [(one.class_name, round(one.score, 3)) for one in found] == [("person", 0.9), ("dog", 0.8)]
    assert found[0].box == pytest.approx((0, 0, 60, 20))
    assert found[1].box == pytest.approx((80, 30, 120, 70), abs=1e-4)


def test_rt_detr_of_its_authors_is_read(tmp_path: Path, image: Image) -> None:
    outputs: Outputs = {
        "labels": np.array([[16, 0, 99]], dtype=np.int64),
        "boxes": np.array([[[10, 20, 30, 40], [-5, 0, 500, 90], [1, 1, 2, 2]]], dtype=np.float32),
        "scores": np.array([[0.4, 0.9, 0.3]], dtype=np.float32),
    }
    detector = OnnxDetector(write_onnx(tmp_path / "rtdetr.onnx", outputs, with_size=True))

    found = detector.detect(image)

    assert [one.class_name for one in found] == ["class 0", "class 16", "class 99"]
    assert [one.box for one in found] == [(0, 0, 200, 90), (10, 20, 30, 40), (1, 1, 2, 2)]


def test_an_input_of_open_size_takes_that_of_the_metadata(tmp_path: Path, image: Image) -> None:
    metadata = {**NAMES, "imgsz": f"[{SIDE}, {SIDE}]"}
    path = write_onnx(tmp_path / "y.onnx", {"output0": yolo_output()}, metadata, sides=("height", "width"))

    assert len(OnnxDetector(path).detect(image)) == 3


def test_half_precision_is_fed(tmp_path: Path, image: Image) -> None:
    path = write_onnx(
        tmp_path / "y.onnx", {"output0": yolo_output().astype(np.float16)}, NAMES, kind=TensorProto.FLOAT16
    )

    assert len(OnnxDetector(path).detect(image)) == 3


@pytest.mark.parametrize(
    ("outputs", "metadata", "message"),
    [
        ({"output0": yolo_output(classes=3)}, NAMES, "y.onnx has 3 classes and 2 class names"),
        (
            {"output0": np.zeros((1, 1000), np.float32)},
            NAMES,
            "y.onnx has outputs of shapes .*; known: those of YOLOv5u, YOLOv8, .*YOLOX",
        ),
    ],
)
def test_what_is_no_such_detector_is_named(
    tmp_path: Path, outputs: Outputs, metadata: dict[str, str], message: str
) -> None:
    with pytest.raises(BrokenWeightsError, match=message):
        OnnxDetector(write_onnx(tmp_path / "y.onnx", outputs, metadata))


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"hello", ""), (b"<!DOCTYPE html><html>", "it is an HTML page"), (b"\x08\x08\x12\x07pytorch", "")],
)
def test_a_broken_file_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "y.onnx").write_bytes(content)

    with pytest.raises(BrokenWeightsError, match=rf"could not load the ONNX file y\.onnx: {reason}") as raised:
        load_detector(str(tmp_path / "y.onnx"))

    assert str(tmp_path) not in str(raised.value)


def test_names_that_are_code_are_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    metadata = {"names": f"__import__('pathlib').Path({str(marker)!r}).touch()"}

    detector = OnnxDetector(write_onnx(tmp_path / "y.onnx", {"output0": yolo_output()}, metadata))

    assert not marker.exists()
    assert detector.class_names == ("class 0", "class 1")


def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "y.onnx", {"output0": yolo_output()}, NAMES)

    with pytest.raises(ValueError, match="device 'mps' is not available in ONNX Runtime"):
        OnnxDetector(path, "mps")


@pytest.mark.parametrize(
    ("device", "provider"),
    [
        ("cpu", ("CPUExecutionProvider", {})),
        ("auto", ("CUDAExecutionProvider", {"device_id": "0"})),
        (None, ("CUDAExecutionProvider", {"device_id": "0"})),
        ("cuda", ("CUDAExecutionProvider", {"device_id": "0"})),
        ("cuda:1", ("CUDAExecutionProvider", {"device_id": "1"})),
        (1, ("CUDAExecutionProvider", {"device_id": "1"})),
    ],
)
def test_each_device_has_its_provider(device: object, provider: tuple[str, dict[str, str]]) -> None:
    assert _provider(device, ["CPUExecutionProvider", "CUDAExecutionProvider"]) == provider


def test_without_cuda_the_best_device_is_the_cpu() -> None:
    assert _provider("auto", ["CPUExecutionProvider"]) == ("CPUExecutionProvider", {})
    with pytest.raises(ValueError, match="device 0 is not available in ONNX Runtime; available: 'cpu'"):
        _provider(0, ["CPUExecutionProvider"])
