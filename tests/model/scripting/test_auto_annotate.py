from pathlib import Path

import pytest

import sam_model
from sam_model.scripting import auto_annotate as module
from sam_testing.blot_images import CHERRY, LEAF, save_blots
from sam_testing.colour_detector import ColourDetector
from sam_testing.disc_segmenter import DiscSegmenter


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """The names and devices that were asked for; the models are those of the tests."""
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(
        module,
        "load_detector",
        lambda *names, image_size: asked.append((*names, image_size)) or ColourDetector(names[0] == "yolov8n-seg.pt"),
    )
    monkeypatch.setattr(module, "load_segmenter", lambda *names: asked.append(names) or DiscSegmenter())
    return asked


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    save_blots(tmp_path / "photos" / "a.png", CHERRY, LEAF)
    save_blots(tmp_path / "photos" / "b.png")
    return tmp_path / "photos"


def test_it_writes_labels_beside_the_folder(photos: Path, loaded: list[tuple[object, ...]]) -> None:
    report = sam_model.auto_annotate(photos, "yolov8x.pt", "sam_b.pt")

    labels = photos.parent / "photos_auto_annotate_labels"
    assert report.out == labels
    assert sorted(path.name for path in labels.glob("*.txt")) == ["a.txt", "b.txt"]
    assert [line[0] for line in (labels / "a.txt").read_text().splitlines()] == ["0", "1"]
    assert (labels / "b.txt").read_text() == ""
    assert loaded == [("yolov8x.pt", "", None), ("sam_b.pt", "")]


def test_it_takes_the_documentations_arguments(photos: Path, tmp_path: Path, loaded: list[tuple[object, ...]]) -> None:
    sam_model.auto_annotate(
        data=str(photos), det_model="d.pt", sam_model="s.pt", device="cpu", output_dir=str(tmp_path / "labels")
    )

    assert (tmp_path / "labels" / "a.txt").exists()
    assert loaded == [("d.pt", "cpu", None), ("s.pt", "cpu")]


def test_it_takes_the_arguments_of_a_prediction(photos: Path, loaded: list[tuple[object, ...]]) -> None:
    report = sam_model.auto_annotate(
        photos, "d.pt", "s.pt", 0, photos / "labels", imgsz=320, conf=0.3, iou=0.5, max_det=1, classes=[0, 1]
    )

    assert report.objects == 1
    assert loaded == [("d.pt", 0, 320), ("s.pt", 0)]


def test_classes_are_names_or_numbers(photos: Path, loaded: list[tuple[object, ...]]) -> None:
    report = sam_model.auto_annotate(photos, classes=[1])

    assert report.objects == 1
    assert (report.out / "a.txt").read_text().startswith("1 "), "the detector's id"
    assert sam_model.auto_annotate(photos, classes=["cherry", 1]).objects == 2
    with pytest.raises(ValueError, match="unknown class 2; the detector's classes are 0 to 1"):
        sam_model.auto_annotate(photos, classes=[2])


def test_without_a_sam_the_detectors_masks_are_taken(photos: Path, loaded: list[tuple[object, ...]]) -> None:
    report = sam_model.auto_annotate([photos / "a.png"], "yolov8n-seg.pt", None, output_dir=photos)

    assert report.objects == 2
    assert loaded == [("yolov8n-seg.pt", "", None)]
    with pytest.raises(ValueError, match="has no masks"):
        sam_model.auto_annotate(photos, "yolov8n.pt", None)


def test_two_images_with_one_label_file_are_refused(photos: Path, loaded: list[tuple[object, ...]]) -> None:
    save_blots(photos / "a.bmp")

    with pytest.raises(ValueError, match="would share one YOLO label file"):
        sam_model.auto_annotate(photos)
    assert loaded == []
