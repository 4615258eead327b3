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
from sam_model.weights.errors import BrokenWeightsError
from sam_model.yolo.checkpoint import load_yolo
from sam_model.yolo.detector import YoloDetector
from sam_model.yolo.fast_sam import FastSamSegmenter
from sam_model.yolo.letterbox import letterbox
from sam_model.yolo.masks import masks_in_input
from sam_testing.ultralytics_files import ultralytics_image, write_ultralytics_file

ultralytics = pytest.importorskip("ultralytics")

pytestmark = pytest.mark.parity

HEADS_TOLERANCE = 1e-3
SMALL = 128  # pixels, for the large models, of which only the heads are compared
FILES: dict[str, tuple[str, int | None]] = {
    "yolov5nu": ("yolov5n.yaml", None),
    "yolov8n": ("yolov8n.yaml", None),
    "yolov8n-seg": ("yolov8n-seg.yaml", None),
    "yolo11n": ("yolo11n.yaml", None),
    "yolo11n-seg": ("yolo11n-seg.yaml", None),
    "yolo26n": ("yolo26n.yaml", None),
    "yolo26n-seg": ("yolo26n-seg.yaml", None),
    "fastsam_s": ("yolov8s-seg.yaml", 1),
}
LARGE = ["yolov5mu", "yolov8m", "yolo11m-seg", "yolo26m"]  # from m on, blocks of YOLO11 and YOLO26 differ


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
            description, classes = FILES.get(name, (f"{name.replace('5mu', '5m')}.yaml", None))
            side = 320 if name in FILES else SMALL
            # a name that Ultralytics knows would be downloaded
            path = write_ultralytics_file(folder / f"my-{name}.pt", description, classes, side)
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


@pytest.mark.parametrize("name", [*FILES, *LARGE])
def test_the_heads_answer_the_same(opened: Open, name: str) -> None:
    pair = opened(name)
    ours = load_yolo(pair.path)  # norms and convolutions apart, as in theirs before it predicts
    image = image_named("333x501")
    framed = letterbox((501, 333), 320 if name in FILES else SMALL).apply(image)
    pixels = torch.from_numpy(framed).permute(2, 0, 1)[None].float() / 255
    reference = ultralytics.YOLO(pair.path).model.float().eval()

    for one_to_one in (False, True) if name.startswith("yolo26") else (False,):
        with torch.inference_mode():
            raw = ours.network(pixels, one_to_one=one_to_one)
            answer = reference(pixels)[1]

        answer = answer["one2one" if one_to_one else "one2many"] if "one2one" in answer else answer
        assert raw.is_one_to_one is one_to_one
        head = reference.model[-1]
        assert same(raw.class_scores[0], answer["scores"][0].sigmoid().T)
        assert raw.class_scores.std() > 0.01  # the answers are not all the same
        boxes = head._get_decode_boxes(answer)[0].T
        if not head.end2end:  # centres and sides
            boxes = torch.cat([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], dim=1)
        assert same(raw.boxes[0], boxes)
        if ours.network.has_masks:
            assert raw.coefficients is not None
            assert raw.prototypes is not None
            assert same(raw.coefficients[0], answer["mask_coefficient"][0].T)
            assert same(raw.prototypes, answer["proto"])


def same(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    return ours.shape == theirs.shape and bool((ours - theirs).abs().max() <= HEADS_TOLERANCE)


# image, then whether classes matter, as arguments of every model
CASES = [("bus.jpg", False), ("zidane.jpg", True), ("333x501", False), ("1001x77", False), ("31x45", True)]
CASES_OF = {"yolov8n-seg": CASES, "yolo26n-seg": CASES[:4]}  # it finds nothing in the smallest image


@pytest.mark.parametrize(
    ("name", "image_name", "is_class_agnostic"),
    [(name, *case) for name in FILES for case in (CASES_OF.get(name, CASES[1:3]))],
)
def test_the_same_objects_are_found(opened: Open, name: str, image_name: str, is_class_agnostic: bool) -> None:
    assert_same_objects(opened(name), image_named(image_name), is_class_agnostic=is_class_agnostic)


@pytest.mark.parametrize("is_class_agnostic", [False, True])
@pytest.mark.parametrize("name", ["yolo26n", "yolo26n-seg"])
def test_the_same_objects_are_found_without_suppression(opened: Open, name: str, is_class_agnostic: bool) -> None:
    pair = opened(name)
    theirs = ultralytics.YOLO(pair.path)  # which head is used is decided once

    assert_same_objects(
        replace(pair, theirs=theirs), image_named("zidane.jpg"), is_class_agnostic=is_class_agnostic, one_to_one=True
    )


@pytest.mark.parametrize(
    ("name", "one_to_one"), [*((name, False) for name in FILES), ("yolo26n", True), ("yolo26n-seg", True)]
)
def test_a_fused_file_finds_the_same_objects(tmp_path: Path, opened: Open, name: str, one_to_one: bool) -> None:
    fused = ultralytics.YOLO(opened(name).path)
    fused.model.end2end = one_to_one  # the other branches are removed
    fused.fuse()
    path = tmp_path / f"fused-{name}.pt"
    fused.save(path)

    pair = Pair(path, YoloDetector(load_yolo(path)), ultralytics.YOLO(path))

    assert_same_objects(pair, image_named("333x501"), one_to_one=one_to_one, is_told=False)


def test_wanted_classes_are_chosen_before_suppression(opened: Open) -> None:
    wanted = list(range(0, 80, 3))

    assert_same_objects(opened("yolov8n-seg"), image_named("bus.jpg"), is_class_agnostic=True, classes=wanted)


@pytest.mark.parametrize("name", ["yolov8n-seg", "yolo26n-seg"])
@pytest.mark.parametrize("image_name", ["bus.jpg", "333x501"])
def test_masks_at_the_network_s_resolution_are_the_same(opened: Open, name: str, image_name: str) -> None:
    pair, image = opened(name), image_named(image_name)

    result = pair.theirs.predict(bgr(image), conf=0.3, max_det=MAX_DETECTIONS, **PREDICT)[0]
    found = pair.ours.find(image, score_threshold=0.3, iou_threshold=0.7, max_detections=MAX_DETECTIONS)

    masks = [mask for mask in masks_in_input(found.objects, found.frame) if mask.any()]
    assert len(masks) == len(result.masks) > 5
    scores = found.objects.scores
    if len(masks) == len(scores):  # otherwise the ranks differ by the objects that were left out
        assert np.abs(scores - result.boxes.conf.numpy()).max() <= 1e-3
    unmatched = list(result.masks.data.numpy() > 0.5)
    for mask in masks:
        nearest = min(range(len(unmatched)), key=lambda place: np.count_nonzero(mask ^ unmatched[place]))
        assert_same_mask(mask, unmatched.pop(nearest))


@pytest.mark.parametrize("description", ["yolov8n-pose", "yolo11n-obb", "yolo26n-cls", "rtdetr-l"])
def test_other_tasks_are_named(tmp_path: Path, description: str) -> None:
    path = tmp_path / "other.pt"
    model = ultralytics.RTDETR if description == "rtdetr-l" else ultralytics.YOLO
    model(f"{description}.yaml").save(path)
    task = {"pose": "pose", "obb": "obb", "cls": "classify", "l": "detect with RT-DETR"}[description.split("-")[1]]

    fix = ", which finds no boxes" if task == "classify" else "; needed: .* format=onnx"
    with pytest.raises(BrokenWeightsError, match=f"other.pt is a model of the task {task}{fix}"):
        load_yolo(path)


PREDICT: dict[str, Any] = {"imgsz": 640, "device": "cpu", "verbose": False}


def bgr(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(image[..., ::-1])


def assert_same_objects(
    pair: Pair,
    image: NDArray[np.uint8],
    *,
    is_class_agnostic: bool = False,
    one_to_one: bool = False,
    is_told: bool = True,
    classes: list[int] | None = None,
) -> None:
    """Compare boxes, scores, classes and masks; `is_told` tells Ultralytics which head to use."""
    settings = PREDICT | ({"nms": False} if one_to_one and is_told else {})
    threshold, least = (0.3, 5) if image.size > 10_000 else (0.1, 0)  # little is found in a small image

    result = pair.theirs.predict(
        bgr(image), conf=threshold, iou=0.5, max_det=MAX_DETECTIONS, retina_masks=True, agnostic_nms=is_class_agnostic,
        classes=classes, **settings,
    )[0]  # fmt: skip
    found = pair.ours.detect(
        image,
        score_threshold=threshold,
        iou_threshold=0.5,
        max_detections=MAX_DETECTIONS,
        is_class_agnostic=is_class_agnostic,
        wanted_ids=classes,
        one_to_one=one_to_one,
    )

    assert len(found) == len(result.boxes) > least
    order, scores = pairs_of(found, result)
    assert np.abs(scores - [one.score for one in found]).max() <= 1e-3
    for one, place in zip(found, order, strict=True):
        assert one.class_id == int(result.boxes.cls[place])
        assert one.class_name == result.names[one.class_id]
        assert np.abs(np.array(one.box) - result.boxes.xyxy[place].numpy()).max() <= 0.05
        if pair.ours.has_masks:
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


@pytest.mark.parametrize(
    ("description", "options"),
    [("yolov8n-seg", {}), ("yolo11n", {}), ("yolo26n-seg", {"nms": False}), ("yolo26n", {"nms": True})],
)
def test_files_exported_to_onnx_find_what_ultralytics_finds_with_them(
    tmp_path: Path, description: str, options: dict[str, bool]
) -> None:
    path = write_ultralytics_file(tmp_path / f"my-{description}.pt", f"{description}.yaml", side=320)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch's exporter
        exported = Path(ultralytics.YOLO(path).export(format="onnx", simplify=False, **options))
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
    """Return which of their objects each of ours is, with their scores: that of the nearest box of the same class."""
    boxes, scores, classes = (part.numpy() for part in (result.boxes.xyxy, result.boxes.conf, result.boxes.cls))
    distances = [np.abs(boxes - np.array(one.box)).max(axis=1) + 1000 * (classes != one.class_id) for one in found]
    order = np.array([int(distance.argmin()) for distance in distances])
    assert len(set(order.tolist())) == len(found), "a box of ours is none of theirs"
    return order, scores[order]


def assert_same_mask(mask: NDArray[np.bool_], other: NDArray[np.bool_]) -> None:
    """IoU of 0.999; of a mask below 2,000 pixels two may differ, whose logits are zero but for rounding."""
    union, different = np.count_nonzero(mask | other), np.count_nonzero(mask ^ other)
    assert different <= max(0.001 * union, 2)
