"""`YOLO`, `FastSAM`, `load_detector` and `load_segmenter` on files of size n, as a script uses them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

import sam_model
from sam_model.registry import load_detector, load_segmenter
from sam_model.types import Image, Point, Prompt
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

    found = model(image, conf=0.3, iou=0.7, imgsz=64)

    assert len(found) > 3
    assert found.boxes.shape == (len(found), 4)
    assert (found.boxes[:, 2:] >= found.boxes[:, :2]).all()
    assert found.scores.shape == found.class_ids.shape == (len(found),)
    assert found.class_names == tuple(CLASSES[class_id] for class_id in found.class_ids)
    assert found.masks is not None
    assert found.masks.shape == (len(found), 50, 80)
    assert model.names == dict(enumerate(CLASSES))


def test_a_detector_gives_no_masks_and_reads_files(folder: Path, image: Image, tmp_path: Path) -> None:
    PillowImage.fromarray(image).save(tmp_path / "picture.png")
    model = sam_model.YOLO(str(folder / "yolov8n.pt"))

    from_file = model(tmp_path / "picture.png", conf=0.3, imgsz=64)
    from_array = model(image, conf=0.3, imgsz=64, image_format="RGB")

    assert from_file.masks is None
    assert len(from_file) > 0
    assert np.array_equal(from_file.boxes, from_array.boxes)


def test_only_the_classes_that_are_wanted_come(folder: Path, image: Image) -> None:
    model = sam_model.YOLO(folder / "yolov8n.pt")

    found = model(image, conf=0.1, imgsz=64, classes=["dog", 2])

    assert set(found.class_ids) <= {1, 2}
    with pytest.raises(ValueError, match="unknown class 'cat'; known: person, dog, bicycle"):
        model(image, classes=["cat"])
    with pytest.raises(ValueError, match="unknown class 3"):
        model(image, classes=[3])


def test_fastsam_finds_everything_or_what_prompts_pick(folder: Path, image: Image) -> None:
    model = sam_model.FastSAM(folder / "FastSAM-s.pt")
    settings = {"conf": 0.3, "imgsz": 64, "image_format": "RGB"}

    everything = model(image, **settings)  # type: ignore[arg-type]
    assert everything.masks is not None
    rows, columns = np.nonzero(everything.masks[0])
    click = [float(columns[0]), float(rows[0])]
    by_point = model(image, points=click, labels=1, **settings)  # type: ignore[arg-type]
    by_boxes = model(image, bboxes=everything.boxes[:2], **settings)  # type: ignore[arg-type]
    by_text = model(image, texts="object", **settings)  # type: ignore[arg-type]

    assert len(everything) > 3
    assert by_point.masks is not None
    assert np.array_equal(by_point.masks[0], everything.masks[0])
    assert len(by_boxes) == 2
    assert len(by_text) == len(everything)
    with pytest.raises(ValueError, match="unknown class 'dog'; known: object"):
        model(image, texts=["dog"])


def test_what_fastsam_does_not_find_has_no_class(folder: Path, image: Image) -> None:
    found = sam_model.FastSAM(folder / "FastSAM-s.pt")(image, points=[3, 3], conf=1.0, imgsz=64)

    assert found.class_ids.tolist() == [-1]
    assert found.scores.tolist() == [0]
    assert found.masks is not None
    assert not found.masks.any()


def test_a_file_of_fastsam_becomes_a_segmenter(folder: Path, image: Image) -> None:
    segmenter = load_segmenter(str(folder / "FastSAM-s.pt"))

    answer = segmenter.segment(segmenter.embed(image), [Prompt((Point(30, 20),))])[0]

    assert segmenter.name == "fastsam_n"  # as large as it is
    assert answer.mask.shape == (50, 80)


def test_a_name_is_looked_for_in_the_store(folder: Path) -> None:
    store = WeightStore(folder, is_offline=True)

    with pytest.raises(BrokenWeightsError, match=r"yolov8n\.pt has sha256"):  # seeded, not the official one
        load_detector("yolov8n", store=store)
    with pytest.raises(WeightsUnavailableError, match=r"yolov8x\.pt"):
        load_detector("yolov8x", store=store)
    assert load_segmenter("fastsam_s", store=store).name == "fastsam_n"
    assert (folder / "FastSAM-s.pt.sha256").exists()


def test_a_detector_that_is_neither_file_nor_name_is_named() -> None:
    with pytest.raises(ValueError, match=r"unknown model 'yolo99': neither a file nor one of .*yolov8x"):
        load_detector("yolo99")


def test_a_model_of_another_kind_is_named(folder: Path, tmp_path: Path) -> None:
    sam = write_seeded_checkpoint(tmp_path / "mobile_sam.pt")

    with pytest.raises(BrokenWeightsError, match=r"mobile_sam\.pt does not hold an Ultralytics model"):
        load_detector(str(sam))
    with pytest.raises(ValueError, match=r"is not a FastSAM; use sam_model\.SAM"):
        sam_model.FastSAM(sam)
    with pytest.raises(ValueError, match="has no masks, so it is not a FastSAM"):
        load_segmenter(str(folder / "yolov8n.pt"))
