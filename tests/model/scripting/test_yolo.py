"""`YOLO`, `FastSAM`, `load_detector` and `load_segmenter` on files of size n, as a script uses them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

import sam_model
from sam_model.registry import load_detector, load_segmenter
from sam_model.types import Image
from sam_model.weights.errors import BrokenWeightsError, WeightsUnavailableError
from sam_model.weights.store import WeightStore
from sam_testing.seeded_checkpoints import write_seeded_checkpoint
from sam_testing.yolo_files import CLASSES, SIZE_N, write_yolo_file


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("yolo")
    write_yolo_file(folder / "yolov8n.pt", SIZE_N)
    write_yolo_file(folder / "yolov8n-seg.pt", SIZE_N, has_masks=True)
    write_yolo_file(folder / "FastSAM-s.pt", SIZE_N, names=("object",), has_masks=True)
    return folder


@pytest.fixture(scope="module")
def image() -> Image:
    return np.random.default_rng(0).integers(0, 256, (50, 80, 3), dtype=np.uint8)


def test_yolo_gives_boxes_scores_classes_and_masks(folder: Path, image: Image) -> None:
    model = sam_model.YOLO(folder / "yolov8n-seg.pt")

    (found,) = model(image, conf=0.3, iou=0.7, imgsz=64)
    (full_size,) = model(image, conf=0.3, iou=0.7, imgsz=64, retina_masks=True)

    assert len(found) > 3
    assert found.boxes.data.shape == (len(found), 6)
    assert (found.boxes.xyxy[:, 2:] >= found.boxes.xyxy[:, :2]).all()
    assert set(found.boxes.cls.int().tolist()) <= set(found.names)
    assert found.boxes.conf.tolist() == sorted(found.boxes.conf.tolist(), reverse=True)
    assert found.masks.data.shape == (len(found), 64, 64)  # 50 x 80 becomes 40 x 64, with borders
    assert found.masks.data.dtype == torch.uint8
    assert full_size.masks.data.shape == (len(full_size), 50, 80)
    assert model.names == found.names == dict(enumerate(CLASSES))
    assert model.device.type == model.to("cpu").device.type == "cpu"
    assert model.info(verbose=False).name == "yolov8n-seg"


def test_a_detector_gives_no_masks_and_reads_files(folder: Path, image: Image, tmp_path: Path) -> None:
    PillowImage.fromarray(image).save(tmp_path / "picture.png")
    model = sam_model.YOLO(str(folder / "yolov8n.pt"))

    (from_file,) = model(tmp_path / "picture.png", conf=0.3, imgsz=64, save_txt=True, project=tmp_path / "runs")
    (from_array,) = model.predict(image, conf=0.3, imgsz=64, image_format="RGB", verbose=False)
    streamed = model([image] * 2, stream=True, conf=0.3, imgsz=64, image_format="RGB")

    assert from_file.masks is None
    assert len(from_file) > 0
    assert torch.equal(from_file.boxes.data, from_array.boxes.data)
    assert [torch.equal(one.boxes.data, from_array.boxes.data) for one in streamed] == [True, True]
    assert len((tmp_path / "runs" / "predict" / "labels" / "picture.txt").read_text().splitlines()) == len(from_file)


def test_only_the_classes_that_are_wanted_come(folder: Path, image: Image) -> None:
    model = sam_model.YOLO(folder / "yolov8n.pt")

    (found,) = model(image, conf=0.1, imgsz=64, classes=["dog", 2])
    (one_class,) = model(image, conf=0.1, imgsz=64, classes=1, max_det=2)

    assert set(found.boxes.cls.int().tolist()) == {1, 2}
    assert torch.equal(one_class.boxes.data, found[found.boxes.cls == 1].boxes.data[:2])  # others do not count
    with pytest.raises(ValueError, match="unknown class 'cat'; known: person, dog, bicycle"):
        model(image, classes=["cat"])
    with pytest.raises(ValueError, match="unknown class 3"):
        model(image, classes=[3])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"conf": 2}, "conf=2; needed: 0..1"),
        ({"iou": "high"}, "iou='high'; needed: 0..1"),
        ({"max_det": -1}, "max_det=-1"),
        ({"imgsz": 70}, "needed: a positive multiple of 32"),
        ({"imgsz": [64, 32]}, r"imgsz=\[64, 32\]"),
        ({"points": [1, 2]}, "unknown argument 'points' of YOLO; known: .*agnostic_nms"),
        ({"vid_stride": 2}, "vid_stride=2 is not possible with YOLO: every frame"),
    ],
)
def test_arguments_without_sense_are_named(
    folder: Path, image: Image, arguments: dict[str, object], message: str
) -> None:
    model = sam_model.YOLO(folder / "yolov8n.pt")

    with pytest.raises(ValueError, match=message):
        model(image, **arguments)


def test_a_name_is_looked_for_in_the_store(folder: Path) -> None:
    store = WeightStore(folder, is_offline=True)

    with pytest.raises(
        BrokenWeightsError, match=r"yolov8n\.pt is not the file of yolov8n: it "
    ):  # seeded, not the official one
        load_detector("yolov8n", store=store)
    with pytest.raises(WeightsUnavailableError, match=r"yolov8x\.pt"):
        load_detector("yolov8x", store=store)
    with pytest.raises(BrokenWeightsError, match=r"FastSAM-s\.pt is not the file of fastsam_s"):
        load_segmenter("fastsam_s", store=store)


def test_a_detector_that_is_neither_file_nor_name_is_named() -> None:
    with pytest.raises(ValueError, match=r"unknown model 'yolo99': neither a file nor one of .*yolov8x"):
        load_detector("yolo99")


def test_a_model_of_another_kind_is_named(folder: Path, tmp_path: Path) -> None:
    sam = write_seeded_checkpoint(tmp_path / "mobile_sam.pt")

    with pytest.raises(BrokenWeightsError, match=r"mobile_sam\.pt is a checkpoint of a SAM"):
        load_detector(str(sam))
    with pytest.raises(ValueError, match=r"is not a FastSAM; use sam_model\.SAM"):
        sam_model.FastSAM(sam)
    with pytest.raises(ValueError, match="has no masks, so it is not a FastSAM"):
        load_segmenter(str(folder / "yolov8n.pt"))
