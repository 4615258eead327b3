from pathlib import Path

import torch

from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.preannotation.loading import load_detector_of
from sam_backend.preannotation.own_detectors import detector_choices, detector_path, own_detectors
from sam_backend.settings import Settings
from sam_model.weights.store import WeightStore
from sam_testing.yolo_files import CLASSES, write_yolo_file


def test_detectors_in_the_folder_of_weights_are_chosen_by_file_name(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    write_yolo_file(folder / "best.pt")
    (folder / "other.onnx").write_bytes(b"")  # read when it is used
    torch.save({"weight": torch.ones(1)}, folder / "my_sam.pt")
    write_yolo_file(folder / "yolov8n.pt")  # a name of the catalogue, whose hash is recorded
    write_yolo_file(tmp_path / "outside.pt")
    (folder / "outside.pt").symlink_to(tmp_path / "outside.pt")
    (folder / "same.pt").symlink_to(folder / "best.pt")
    (folder / "folder.pt").mkdir()
    (folder / "notes.txt").write_text("")
    store = WeightStore(folder, is_offline=True)

    names = detector_choices(Settings(), store)

    assert [name for name in names if "." in name] == ["best.pt", "other.onnx", "same.pt"]
    assert names[0] == "everything"
    assert {"boxes", "classical"} <= {*names}


def test_the_file_of_the_settings_is_chosen_by_its_name_wherever_it_lies(tmp_path: Path) -> None:
    file = write_yolo_file(tmp_path / "elsewhere.pt")
    store = WeightStore(tmp_path / "missing", is_offline=True)

    assert own_detectors(Settings(detector=str(file)), store) == {"elsewhere.pt": file}
    assert own_detectors(Settings(detector="yolov8n"), store) == {}
    assert detector_path("elsewhere.pt", Settings(detector=str(file)), store) == str(file)
    assert detector_path("yolov8n", Settings(detector=str(file)), store) == "yolov8n"


def test_an_own_detector_is_loaded_by_its_name(tmp_path: Path) -> None:
    write_yolo_file(tmp_path / "best.pt")

    detector = load_detector_of(
        RunConfiguration(1, detector="best.pt"), Settings(device="cpu"), WeightStore(tmp_path, is_offline=True)
    )

    assert detector is not None
    assert detector.class_names == CLASSES
