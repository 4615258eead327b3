import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import PIL.Image
import pytest

from sam_backend.commands.main import main
from sam_model import registry
from sam_model.types import Detection, Image
from sam_model.weights.errors import BrokenWeightsError, WeightsUnavailableError
from sam_testing.blot_images import CHERRY, LEAF, save_blots
from sam_testing.colour_detector import ColourDetector
from sam_testing.disc_segmenter import DiscSegmenter
from sam_testing.seeded_checkpoints import TINY_VIT_SAM, write_seeded_checkpoint
from sam_testing.yolo_files import SIZE_N, write_yolo_file

PHOTOS = Path(__file__).parents[3] / "examples" / "photos"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """a.png with a cherry and a leaf, b.png with nothing."""
    save_blots(tmp_path / "photos" / "a.png", CHERRY, LEAF)
    save_blots(tmp_path / "photos" / "b.png")
    return tmp_path / "photos"


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> ColourDetector:
    """What every detector's name stands for; every segmenter's stands for `DiscSegmenter`."""
    detector = ColourDetector()
    monkeypatch.setattr(registry, "load_detector", lambda *_, **__: detector)
    monkeypatch.setattr(registry, "load_segmenter", lambda *_, **__: DiscSegmenter())
    return detector


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "annotations"


def test_all_formats_are_written_where_none_is_named(
    photos: Path, out: Path, detector: ColourDetector, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["annotate", str(photos)])

    said, errors = capsys.readouterr()
    assert code == 0
    assert errors == ""
    assert said == "2 images, 2 objects: yolo, coco, label-studio in annotations\n"
    assert {path.relative_to(out).as_posix() for path in out.rglob("*.*") if ".annotate" not in path.parts} == {
        "coco.json",
        "data.yaml",
        "label-config.xml",
        "label-studio.json",
        "labels/a.txt",
        "labels/b.txt",
    }
    assert json.loads((out / "label-studio.json").read_bytes())[0]["data"]["image"] == (
        "/data/local-files/?d=photos/a.png"
    )


def test_only_what_is_asked_for_is_written(photos: Path, out: Path, detector: ColourDetector) -> None:
    assert main(["annotate", str(photos), "--format", "coco", "--out", str(out / "deep" / "er")]) == 0

    assert [path.name for path in (out / "deep" / "er").glob("[!.]*")] == ["coco.json"]


def test_a_second_format_comes_from_the_records(
    photos: Path, out: Path, detector: ColourDetector, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["annotate", str(photos), "--format", "coco"])

    assert main(["annotate", str(photos), "--format", "yolo"]) == 0

    assert detector.images == 2
    assert "2 images, 2 of them from an earlier run, 2 objects: yolo" in capsys.readouterr().out
    assert (out / "labels" / "a.txt").exists()


def test_no_resume_does_all_anew(photos: Path, out: Path, detector: ColourDetector) -> None:
    main(["annotate", str(photos)])
    main(["annotate", str(photos), "--no-resume"])

    assert detector.images == 4


def test_options_reach_their_places(photos: Path, out: Path, detector: ColourDetector) -> None:
    options = ["--classes", "Leaf", "--map", "leaf=Blatt", "--coco-segmentation", "polygon", "--conf", "0.5"]
    addresses = ["--image-url-prefix", "https://photos.example/x/", "--label-config", str(out / "my.xml")]

    assert main(["annotate", f"{photos}/a.*", *options, *addresses, "--batch", "3"]) == 0

    coco = json.loads((out / "coco.json").read_text())
    (task,) = json.loads((out / "label-studio.json").read_bytes())
    assert coco["categories"] == [{"id": 1, "name": "Blatt"}]
    assert len(coco["annotations"][0]["segmentation"][0]) == 8  # four corners
    assert task["data"]["image"] == "https://photos.example/x/a.png"
    assert '<Label value="Blatt"' in (out / "my.xml").read_text()
    assert (out / "data.yaml").read_text().endswith('0: "Blatt"\n')


def test_text_looks_for_a_class_by_name(
    photos: Path, out: Path, detector: ColourDetector, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["annotate", str(photos), "--text", "cherry", "--format", "coco"]) == 0

    assert [one["name"] for one in json.loads((out / "coco.json").read_text())["categories"]] == ["cherry"]


def test_any_words_go_to_a_detector_in_a_folder(
    photos: Path, out: Path, detector: ColourDetector, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class WordDetector:
        name, fingerprint = "words", "words-1"

        def detect_texts(self, image: Image, texts: Sequence[str], **_: float) -> list[Detection]:
            return [replace(one, class_name=texts[0]) for one in detector.detect(image)]

    asked: list[str] = []
    monkeypatch.setattr(registry, "load_text_detector", lambda *names, **_: asked.extend(names) or WordDetector())
    (tmp_path / "owl").mkdir()

    options = ["--detector", str(tmp_path / "owl"), "--text", "a small blot", "--format", "coco"]
    assert main(["annotate", str(photos), *options]) == 0

    coco = json.loads((out / "coco.json").read_text())
    assert asked == [str(tmp_path / "owl"), "auto"]
    assert [category["name"] for category in coco["categories"]] == ["a small blot"]
    assert len(coco["annotations"]) == 2


def test_pictures_without_objects_are_no_error(
    photos: Path, out: Path, detector: ColourDetector, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["annotate", str(photos / "b.png")]) == 0

    assert "1 image, 0 objects" in capsys.readouterr().out
    (task,) = json.loads((out / "label-studio.json").read_bytes())
    assert [prediction["result"] for prediction in task["predictions"]] == [[]]


def test_the_contact_sheet_is_a_picture(photos: Path, out: Path, detector: ColourDetector) -> None:
    assert main(["annotate", str(photos), "--contact-sheet", str(out / "sheets" / "sheet.png")]) == 0

    with PIL.Image.open(out / "sheets" / "sheet.png") as sheet:
        assert sheet.width > 600


def test_a_broken_picture_is_named_and_the_exit_code_says_so(
    photos: Path, out: Path, detector: ColourDetector, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "a.png").write_bytes((photos / "a.png").read_bytes()[:60])

    code = main(["annotate", str(photos)])

    said, errors = capsys.readouterr()
    assert code == 1
    assert said.startswith("1 image, 0 objects")
    assert errors.startswith("label-studio-sam: a.png: ")
    assert (
        errors.splitlines()[1]
        == "label-studio-sam: 1 image could not be annotated; annotations/errors.jsonl lists all of them"
    )
    assert json.loads((out / "errors.jsonl").read_text())["image"] == "a.png"


@pytest.mark.parametrize("command", [["annotate", "photos"], ["preannotate", "--project", "1"]])
def test_the_old_name_of_an_option_is_refused_with_the_new_one(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--at-most", "5"])

    assert ended.value.code == 2
    assert "--at-most was renamed: use --max-detections in its place" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--classes", "leaf,dog"], "unknown class 'dog'; the detector's classes: cherry, leaf"),
        (["--map", "leaf"], "--map leaf is not A=B"),
        (["--map", "dog=Dog"], "unknown class 'dog'"),
        (["--model", "none"], "the detector 'colours' has no masks"),
        (["--conf", "2"], "conf=2.0 is not between 0 and 1"),
        (["--iou", "-1"], "iou=-1.0 is not between 0 and 1"),
        (["--batch", "0"], "--batch 0 is less than 1"),
        (["--max-detections", "0"], "max_detections=0"),
        (["nowhere"], "'nowhere' does not exist"),
    ],
)
def test_bad_input_is_named_in_one_line(
    photos: Path,
    out: Path,
    detector: ColourDetector,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    words: str,
) -> None:
    code = main(["annotate", str(photos), *options])

    errors = capsys.readouterr().err
    assert code == 2
    assert errors.startswith("label-studio-sam: ")
    assert words in errors
    assert len(errors.splitlines()) == 1
    assert not (out / "coco.json").exists()


def test_an_empty_folder_is_named(tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()

    assert main(["annotate", str(tmp_path / "empty")]) == 2

    assert f"no images in '{tmp_path / 'empty'}'" in capsys.readouterr().err


def test_an_unwritable_output_is_named_before_a_model_is_loaded(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(registry, "load_detector")
    (tmp_path / "file").touch()

    assert main(["annotate", str(photos), "--out", str(tmp_path / "file" / "out")]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "file") in line


def test_a_detector_that_nobody_knows_is_named(photos: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["annotate", str(photos), "--detector", "yolov99", "--model", "classical"]) == 2

    assert "'yolov99'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"), [(BrokenWeightsError("x.pt is cut off"), 2), (WeightsUnavailableError("x.pt is not here"), 1)]
)
def test_weights_that_cannot_be_had_are_named(
    photos: Path,
    out: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    code: int,
) -> None:
    def load_detector(*_: object, **__: object) -> ColourDetector:
        raise error

    monkeypatch.setattr(registry, "load_detector", load_detector)

    assert main(["annotate", str(photos)]) == code

    assert capsys.readouterr().err == f"label-studio-sam: {error}\n"


def test_the_classical_models_annotate_a_photograph(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = PHOTOS / "astronaut.jpg"

    assert main(["annotate", str(photo), "--detector", "classical", "--model", "classical"]) == 0

    (one,) = json.loads((out / "coco.json").read_text())["annotations"]
    x, y, width, height = one["bbox"]
    assert one["category_id"] == 2  # a face
    assert 170 < x < x + width < 280
    assert 50 < y < y + height < 170
    (task,) = json.loads((out / "label-studio.json").read_bytes())
    assert task["data"]["image"] == "/data/local-files/?d=photos/astronaut.jpg"
    assert task["predictions"][0]["model_version"] == "classical+classical"


def test_a_segmentation_file_annotates_without_a_segmenter(out: Path, tmp_path: Path) -> None:
    file = write_yolo_file(tmp_path / "seg.pt", SIZE_N, has_masks=True)
    options = ["--detector", str(file), "--model", "none", "--conf", "0.1", "--max-detections", "3"]

    code = main(["annotate", str(PHOTOS / "coffee.jpg"), *options])

    assert code == 0
    coco = json.loads((out / "coco.json").read_text())
    assert [category["name"] for category in coco["categories"]] == ["person", "dog", "bicycle"]
    assert coco["annotations"]  # seeded weights: what they are is no matter


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: write_yolo_file(path, SIZE_N, task="ClassificationModel"), "is a model of the task classify"),
        (lambda path: path.write_bytes(b"cut off"), "model.pt"),
        (lambda path: write_seeded_checkpoint(path, TINY_VIT_SAM), "is a checkpoint of a SAM"),
        (lambda path: write_yolo_file(path, SIZE_N), "has no masks"),
    ],
)
def test_a_file_that_is_no_such_detector_is_named(
    photos: Path,
    out: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    make: Callable[[Path], object],
    words: str,
) -> None:
    make(tmp_path / "model.pt")

    assert main(["annotate", str(photos), "--detector", str(tmp_path / "model.pt"), "--model", "none"]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
