import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest

from sam_backend.commands.main import main
from sam_model.masks.coco_rle import run_lengths_from_coco
from sam_model.scripting import any_model
from sam_testing.colour_sam import ColourSam
from sam_testing.tiny_weights import know_tiny_sizes, write_tiny_weights

Capture = pytest.CaptureFixture[str]


def write_square(path: Path) -> str:
    """Write an image of 96 x 128 pixels: grey, with a red square from 32 to 80 and 24 to 72."""
    image = np.full((96, 128, 3), 90, dtype=np.uint8)
    image[24:72, 32:80] = (255, 0, 0)
    path.parent.mkdir(exist_ok=True)
    PIL.Image.fromarray(image).save(path)
    return str(path)


@pytest.fixture
def square(tmp_path: Path) -> str:
    return write_square(tmp_path / "square.png")


@pytest.fixture
def sam(monkeypatch: pytest.MonkeyPatch) -> ColourSam:
    sam = ColourSam()
    monkeypatch.setattr(any_model, "load_segmenter", lambda *_: sam)
    return sam


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    write_tiny_weights(folder)
    return folder


def predict(capsys: Capture, *arguments: str) -> dict[str, Any]:
    """Run the command with `--json`, and return what it prints."""
    code = main(["predict", *arguments, "--json"])

    said, errors = capsys.readouterr()
    assert (code, errors) == (0, "")
    answer: dict[str, Any] = json.loads(said)
    return answer


def test_json_has_the_mask_of_a_prompt(square: str, sam: ColourSam, capsys: Capture) -> None:
    answer = predict(capsys, square, "--box", "30,20,82,76")

    assert (answer["model"], answer["errors"]) == ("colour_sam", [])
    (image,) = answer["images"]
    assert (image["image"], image["frame"], image["size"]) == (square, None, [96, 128])
    (found,) = image["objects"]
    assert (found["label"], found["box"], found["score"]) == (None, [32, 24, 80, 72], pytest.approx(0.95))
    decoded = run_lengths_from_coco(found["rle"]).mask
    assert decoded[48, 50]
    assert decoded.sum() == found["area"]


def test_the_overlay_shows_mask_and_point(square: str, sam: ColourSam, tmp_path: Path, capsys: Capture) -> None:
    code = main(["predict", square, "--point", "50,50", "--out", str(tmp_path / "out")])

    before, after = np.array(PIL.Image.open(square)), np.array(PIL.Image.open(tmp_path / "out" / "square.jpg"))
    assert code == 0
    assert after.shape == before.shape
    assert np.abs(after[60, 60] - before[60, 60].astype(int)).max() > 50
    assert np.abs(after[5, 5] - before[5, 5].astype(int)).max() < 10
    assert capsys.readouterr().out.splitlines() == [
        "score 0.950  box 32, 24, 80, 72", f"1 object, drawn in {tmp_path / 'out'}",
    ]  # fmt: skip


def test_without_prompts_everything_is_segmented_in_the_images_own_colours(
    square: str, sam: ColourSam, capsys: Capture
) -> None:
    (image,) = predict(capsys, square, "--points-stride", "4")["images"]

    assert sorted(found["box"] for found in image["objects"]) == [[0, 0, 128, 96], [32, 24, 80, 72]]


def test_a_folder_of_images_and_videos_is_predicted_one_by_one(tmp_path: Path, sam: ColourSam, capsys: Capture) -> None:
    folder = tmp_path / "photos"
    write_square(folder / "a.png")
    (folder / "b.png").write_bytes(b"broken")
    PIL.Image.new("RGB", (20, 20)).save(folder / "c.png")  # the point is outside of it
    video = cv2.VideoWriter(str(folder / "d.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 5, (128, 96))
    for _ in range(2):
        video.write(np.zeros((96, 128, 3), np.uint8))
    video.release()
    out = tmp_path / "out"

    code = main(["predict", str(folder), "--point", "50,50", "--out", str(out), "--save-txt"])

    said, errors = capsys.readouterr()
    assert code == 1
    assert said.splitlines() == [
        f"{folder / 'a.png'}: 1 object",
        f"{folder / 'd.avi'}, frame 1: 1 object",
        f"{folder / 'd.avi'}, frame 2: 1 object",
        f"3 objects, drawn in {out}",
    ]
    assert "could not read" in errors
    assert f"{folder / 'c.png'}: --point 50,50 is outside the image of 20 x 20 pixels" in errors
    assert sorted(path.name for path in out.glob("*.jpg")) == ["a.jpg", "d_1.jpg", "d_2.jpg"]
    assert (out / "labels" / "a.txt").read_text().startswith("0 0.25 0.25 ")


def test_the_classical_segmenter_answers_points_and_boxes(square: str, capsys: Capture) -> None:
    answer = predict(
        capsys, square, "--model", "classical", "--point", "50,50", "--point", "5,5,0", "--box", "25,18,88,80"
    )

    assert answer["model"] == "classical"
    (found,) = answer["images"][0]["objects"]
    decoded = run_lengths_from_coco(found["rle"]).mask
    assert decoded[48, 55]
    assert not decoded[5, 5]


def test_several_boxes_are_an_object_each(square: str, capsys: Capture) -> None:
    answer = predict(capsys, square, "--model", "classical", "--box", "25,18,88,80", "--box", "1,1,20,20")

    assert len(answer["images"][0]["objects"]) == 2


def test_the_classical_models_find_everything_texts_and_edges(square: str, tmp_path: Path, capsys: Capture) -> None:
    everything = predict(capsys, square, "--model", "classical")["images"][0]["objects"]
    faces = predict(capsys, square, "--model", "classical", "--text", "face")["images"][0]["objects"]
    edges = predict(capsys, square, "--model", "classical", "--edges", "--out", str(tmp_path / "out"))["images"][0]

    assert any(np.abs(np.subtract(found["box"], [32, 24, 80, 72])).max() <= 2 for found in everything)
    assert faces == []
    assert edges["edges"] == str(tmp_path / "out" / "square-edges.png")
    drawn = np.array(PIL.Image.open(edges["edges"]))
    assert drawn.shape == (96, 128)
    assert drawn[48, 29:35].max() > 200
    assert drawn[48, 50] < 80


def test_a_sam_takes_grid_and_crops_and_proposes_objects(
    weights: Path, square: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    know_tiny_sizes(monkeypatch)
    model = ("--model", str(weights / "mobile_sam.pt"))

    answers = [
        predict(capsys, square, *model, "--points-stride", "2", "--conf", conf, "--crop-n-layers", layers)
        for conf, layers in (("0", "0"), ("0", "1"), ("1", "0"))
    ]

    assert answers[0]["model"] == "tiny_mobile_sam"
    counts = [len(answer["images"][0]["objects"]) for answer in answers]
    assert counts[1] >= counts[0] >= 0
    assert counts[2] == 0


@pytest.mark.parametrize(("model", "masks"), [("yolov8n.pt", False), ("yolov8n-seg.pt", True)])
def test_a_detector_returns_its_classes(weights: Path, square: str, model: str, masks: bool, capsys: Capture) -> None:
    arguments = (square, "--model", str(weights / model), "--conf", "0.01")
    every = predict(capsys, *arguments)["images"][0]["objects"]
    dogs = predict(capsys, *arguments, "--text", "Dog")["images"][0]["objects"]

    assert {found["label"] for found in every} == {"person", "dog", "bicycle"}
    assert all(("rle" in found) == masks for found in every)
    assert dogs
    assert {found["label"] for found in dogs} == {"dog"}


def test_fast_sam_segments_everything_and_prompts(weights: Path, square: str, capsys: Capture) -> None:
    arguments = (square, "--model", str(weights / "FastSAM-s.pt"))
    every = predict(capsys, *arguments, "--conf", "0.05")["images"][0]["objects"]
    by_box = predict(capsys, *arguments, "--box", "30,20,82,76")

    assert every
    assert by_box["model"] == "fastsam_n"
    assert len(by_box["images"][0]["objects"]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--point", "5"], "--point 5: needed: 2 or 3 finite numbers"),
        (["--point", "5,x"], "--point 5,x: not numbers"),
        (["--point", "5,nan"], "--point 5,nan"),
        (["--point", "5,5,2"], "the label must be 1 (positive) or 0 (negative)"),
        (["--box", "1,2,3"], "--box 1,2,3: needed: 4 finite numbers"),
        (["--box", "1,2,3,4", "--box", "1,2,3,4", "--point", "1,2"], "--point with 2 boxes"),
        (["--text", "dog", "--point", "5,5"], "--text cannot be combined with --point or --box"),
        (["--edges", "--proposals"], "--edges and --proposals cannot be combined"),
        (["--edges"], "--edges writes files: name their folder with --out DIR"),
        (["--save-txt"], "--save-txt writes files"),
        (["--conf", "2"], "--conf 2 is not between 0 and 1"),
        (["--points-stride", "4"], "classical has no grid of points and no crops to choose"),
        (["--point", "5,5", "--model", "samovar"], "'samovar'"),
        (["--box", "50,50,20,20"], "--box 50,50,20,20 has no area"),
        (["--box", "500,50,520,70"], "--box 500,50,520,70 is outside"),
        (["--point", "500,50"], "--point 500,50 is outside the image of 128 x 96"),
        (["--point", "5,5", "--out", "overlay.png"], "--out overlay.png looks like a file; needed: a folder"),
        (["--point", "5,5", "--device", "cuda:77", "--model", "FastSAM-s.pt"], "device 'cuda:77' is not available"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    weights: Path, square: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(weights)
    model = [] if "--model" in arguments else ["--model", "classical"]

    code = main(["predict", square, "--json", *model, *arguments])

    said, errors = capsys.readouterr()
    assert (code, said) == (2, "")
    assert errors.count("\n") == 1
    assert message in errors


def test_a_detector_says_what_it_cannot_do(weights: Path, square: str, tmp_path: Path, capsys: Capture) -> None:
    for arguments, message in (
        (["--point", "5,5"], "the detector yolov8n has no points or boxes; choose a segmenter"),
        (["--proposals"], "the detector yolov8n has no object proposals"),
        (["--text", "cat"], "unknown class 'cat' of yolov8n; known: person, dog, bicycle"),
        (["--edges", "--out", str(tmp_path)], "--edges: the detector yolov8n has none"),
    ):
        assert main(["predict", square, "--model", str(weights / "yolov8n.pt"), *arguments]) == 2
        assert message in capsys.readouterr().err


def test_an_old_option_names_the_new_one(square: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        main(["predict", square, "--points-per-side", "4"])
    assert "use --points-stride" in capsys.readouterr().err


def test_a_source_that_is_missing_or_broken_is_named(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "b.png").write_bytes(b"")

    assert main(["predict", "nowhere.jpg", "--model", "classical"]) == 2
    assert "'nowhere.jpg' does not exist" in capsys.readouterr().err
    assert main(["predict", str(tmp_path / "a.png"), "--model", "classical"]) == 2
    assert "could not read" in capsys.readouterr().err
    assert main(["predict", str(tmp_path), "--model", "classical"]) == 1
    assert "no image could be read: could not read" in capsys.readouterr().err


def test_weights_that_cannot_be_had_are_code_1(
    square: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("SAM_WEIGHTS_DIR", str(tmp_path / "weights"))
    monkeypatch.setenv("SAM_OFFLINE", "1")

    assert main(["predict", square, "--point", "5,5"]) == 1
    assert "mobile_sam.pt" in capsys.readouterr().err
