"""Heads, boxes, classes, scores and masks equal those of Ultralytics 8.4, on files that it wrote itself."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sam_model.detectors.onnx import OnnxDetector
from sam_model.types import Point, Prompt
from sam_model.yolo.checkpoint import load_yolo
from sam_model.yolo.detector import YoloDetector
from sam_model.yolo.fast_sam import FastSamSegmenter
from sam_model.yolo.letterbox import letterbox
from sam_testing.ultralytics_files import ultralytics_image, write_ultralytics_file

ultralytics = pytest.importorskip("ultralytics")

pytestmark = pytest.mark.parity

HEADS_TOLERANCE = 1e-3
SMALL = 128  # pixels, for the large models, of which only the heads are compared
FILES: dict[str, tuple[str, int | None]] = {
    "yolov8n": ("yolov8n.yaml", None),
    "yolov8n-seg": ("yolov8n-seg.yaml", None),
    "fastsam_s": ("yolov8s-seg.yaml", 1),
}


@dataclass(frozen=True)
class Pair:
    """One file, read by us and by Ultralytics."""

    path: Path
    ours: YoloDetector
    theirs: Any


MAX_DETECTIONS = 60
Open = Callable[[str], Pair]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Open:
    folder = tmp_path_factory.mktemp("ultralytics")
    pairs: dict[str, Pair] = {}

    def open_(name: str) -> Pair:
        if name not in pairs:
            description, classes = FILES.get(name, (f"{name}.yaml", None))
            side = 640 if name in FILES else SMALL
            path = write_ultralytics_file(folder / f"{name}.pt", description, classes, side)
            pairs[name] = Pair(path, YoloDetector(load_yolo(path)), ultralytics.YOLO(path))
        return pairs[name]

    return open_


def image_named(name: str) -> NDArray[np.uint8]:
    """An image of Ultralytics, or bus.jpg at an odd size "width x height"."""
    if name.endswith(".jpg"):
        return ultralytics_image(name)
    width, height = (int(side) for side in name.split("x"))
    return np.asarray(cv2.resize(ultralytics_image("bus.jpg"), (width, height)), dtype=np.uint8)


IMAGE_NAMES = ["bus.jpg", "zidane.jpg", "333x501", "1001x77", "31x45"]


@pytest.mark.parametrize("name", [*FILES, "yolov8m", "yolov8x"])
def test_the_heads_answer_the_same(opened: Open, name: str) -> None:
    pair = opened(name)
    ours = load_yolo(pair.path)  # norms and convolutions apart, as in theirs before it predicts
    image = image_named("333x501")
    framed = letterbox((501, 333), 320 if name in FILES else SMALL).apply(image)
    pixels = torch.from_numpy(framed).permute(2, 0, 1)[None].float() / 255

    with torch.inference_mode():
        raw = ours.network(pixels)
        answer = ultralytics.YOLO(pair.path).model.float().eval()(pixels)

    has_masks = ours.network.has_masks
    predictions, prototypes = answer[0] if has_masks else (answer[0], None)
    # predictions: (1, 4 + classes + 32, cells), boxes as centre and sides
    classes = len(ours.class_names)
    centres, sides = predictions[0, :2].T, predictions[0, 2:4].T
    boxes = torch.cat([centres - sides / 2, centres + sides / 2], dim=1)
    assert (raw.boxes[0] - boxes).abs().max() <= HEADS_TOLERANCE
    assert (raw.class_scores[0] - predictions[0, 4 : 4 + classes].T).abs().max() <= HEADS_TOLERANCE
    assert raw.class_scores.std() > 0.01  # the answers are not all the same
    if has_masks:
        assert raw.coefficients is not None
        assert raw.prototypes is not None
        assert (raw.coefficients[0] - predictions[0, 4 + classes :].T).abs().max() <= HEADS_TOLERANCE
        assert (raw.prototypes - prototypes).abs().max() <= HEADS_TOLERANCE


@pytest.mark.parametrize("is_class_agnostic", [False, True], ids=["class by class", "whatever class"])
@pytest.mark.parametrize("image_name", IMAGE_NAMES)
@pytest.mark.parametrize("name", FILES)
def test_the_same_objects_are_found(opened: Open, name: str, image_name: str, is_class_agnostic: bool) -> None:
    ours, theirs = opened(name).ours, opened(name).theirs
    image = image_named(image_name)

    result = theirs.predict(
        np.ascontiguousarray(image[..., ::-1]), conf=0.3, iou=0.5, imgsz=640, max_det=MAX_DETECTIONS, retina_masks=True,
        agnostic_nms=is_class_agnostic, device="cpu", verbose=False,
    )[0]  # fmt: skip
    found = ours.detect(
        image,
        score_threshold=0.3,
        iou_threshold=0.5,
        max_detections=MAX_DETECTIONS,
        is_class_agnostic=is_class_agnostic,
    )

    assert len(found) == len(result.boxes) > 5
    order, scores = pairs_of(found, result)
    assert np.abs(scores - [one.score for one in found]).max() <= 1e-3
    for one, place in zip(found, order, strict=True):
        assert one.class_id == int(result.boxes.cls[place])
        assert one.class_name == result.names[one.class_id]
        assert np.abs(np.array(one.box) - result.boxes.xyxy[place].numpy()).max() <= 0.05
        if ours.has_masks:
            assert one.mask is not None
            assert_same_mask(one.mask, result.masks.data[place].numpy() > 0.5)


@pytest.mark.parametrize("image_name", ["bus.jpg", "zidane.jpg"])
def test_fastsam_s_prompts_pick_the_same_masks(opened: Open, image_name: str) -> None:
    path, image = opened("fastsam_s").path, image_named(image_name)
    height, width = image.shape[:2]
    reference, bgr = ultralytics.FastSAM(path), np.ascontiguousarray(image[..., ::-1])
    settings = {"conf": 0.4, "iou": 0.5, "imgsz": 640, "max_det": MAX_DETECTIONS, "retina_masks": True, "device": "cpu"}
    segmenter = FastSamSegmenter(load_yolo(path), image_size=640, score_threshold=0.4, iou_threshold=0.5)
    everything = segmenter.embed(image)
    embedding = replace(everything, masks=everything.masks[:MAX_DETECTIONS])
    boxes = [(0.1, 0.1, 0.6, 0.7), (0.5, 0.3, 0.9, 0.95), (0.0, 0.0, 1.0, 1.0)]

    for x_min, y_min, x_max, y_max in boxes:
        box = (x_min * width, y_min * height, x_max * width, y_max * height)
        theirs = reference(bgr, bboxes=[list(box)], verbose=False, **settings)[0]
        ours = segmenter.segment(embedding, [Prompt(box=box)])[0]
        assert_same_mask(ours.mask, theirs.masks.data[0].numpy() > 0.5)
    point = [0.5 * width, 0.5 * height]
    theirs = reference(bgr, points=[point], labels=[1], verbose=False, **settings)[0]  # all masks at the point
    ours = segmenter.segment(embedding, [Prompt((Point(*point),))])[0]  # the surest of them
    assert_same_mask(ours.mask, theirs.masks.data[0].numpy() > 0.5)


@pytest.mark.parametrize("description", ["yolov8n-seg", "yolo11n"])
def test_files_exported_to_onnx_find_what_ultralytics_finds_with_them(tmp_path: Path, description: str) -> None:
    path = write_ultralytics_file(tmp_path / f"{description}.pt", f"{description}.yaml")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch's exporter
        exported = Path(ultralytics.YOLO(path).export(format="onnx", simplify=False))
    image = image_named("zidane.jpg")

    detector = OnnxDetector(exported)
    found = detector.detect(image, score_threshold=0.3, iou_threshold=0.5, max_detections=MAX_DETECTIONS)

    reference = ultralytics.YOLO(exported, task="segment" if detector.has_masks else "detect")
    result = reference.predict(
        np.ascontiguousarray(image[..., ::-1]), conf=0.3, iou=0.5, imgsz=640, max_det=MAX_DETECTIONS, retina_masks=True,
        device="cpu", verbose=False,
    )[0]  # fmt: skip
    assert detector.class_names == tuple(result.names.values())
    assert len(found) == len(result.boxes) > 5
    order, scores = pairs_of(found, result)
    assert np.abs(scores - [one.score for one in found]).max() <= 1e-3
    for one, place in zip(found, order, strict=True):
        assert np.abs(np.array(one.box) - result.boxes.xyxy[place].numpy()).max() <= 0.05
        assert one.class_id == int(result.boxes.cls[place])
        if one.mask is not None:
            assert_same_mask(one.mask, result.masks.data[place].numpy() > 0.5)


def pairs_of(found: Any, result: Any) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Which of their objects each of ours is: the same place, or a neighbour in rank with the nearest box."""
    boxes, scores = result.boxes.xyxy.numpy(), result.boxes.conf.numpy()
    order = np.array([int(np.abs(boxes - np.array(one.box)).max(axis=1).argmin()) for one in found])
    assert len(set(order.tolist())) == len(found), "a box of ours is none of theirs"
    return order, scores[order]


def assert_same_mask(mask: NDArray[np.bool_], other: NDArray[np.bool_]) -> None:
    """IoU of 0.999; of a mask below 2,000 pixels two may differ, whose logits are zero but for rounding."""
    union, different = np.count_nonzero(mask | other), np.count_nonzero(mask ^ other)
    assert different <= max(0.001 * union, 2)
