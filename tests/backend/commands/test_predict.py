import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from sam_backend.commands.main import main
from sam_model.masks.coco_rle import run_lengths_from_coco
from sam_model.scripting import sam as sam_scripting
from sam_testing.colour_sam import ColourSam
from sam_testing.seeded_checkpoints import write_seeded_checkpoint


@pytest.fixture
def square(tmp_path: Path) -> str:
    """96 x 128: grey, with a red square from 32 to 80 and 24 to 72."""
    image = np.full((96, 128, 3), 90, dtype=np.uint8)
    image[24:72, 32:80] = (255, 0, 0)
    path = tmp_path / "square.png"
    PIL.Image.fromarray(image).save(path)
    return str(path)


@pytest.fixture
def sam(monkeypatch: pytest.MonkeyPatch) -> ColourSam:
    sam = ColourSam()
    monkeypatch.setattr(sam_scripting, "load_sam", lambda *_: sam)
    return sam


def test_json_is_all_there_is_on_standard_output(
    square: str, sam: ColourSam, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["predict", square, "--box", "30,20,82,76", "--json"])

    said, errors = capsys.readouterr()
    answer = json.loads(said)
    assert code == 0
    assert errors == ""
    assert answer["image"] == square
    assert answer["size"] == [96, 128]
    assert answer["model"] == "colour_sam"
    (mask,) = answer["masks"]
    assert mask["box"] == [32, 24, 80, 72]
    assert mask["score"] == pytest.approx(0.95)
    decoded = run_lengths_from_coco(mask["rle"]).mask
    assert decoded[48, 50]
    assert decoded.sum() == mask["area"]


def test_the_overlay_shows_mask_and_click(
    square: str, sam: ColourSam, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "overlay.png"

    code = main(["predict", square, "--point", "50,50", "--out", str(out)])

    before, after = np.array(PIL.Image.open(square)), np.array(PIL.Image.open(out))
    assert code == 0
    assert after.shape == before.shape
    assert (after[60, 60] != before[60, 60]).any()
    assert (after[5, 5] == before[5, 5]).all()
    assert "1 masks, drawn in" in capsys.readouterr().out


def test_everything_is_segmented_in_the_picture_s_own_colours(
    square: str, sam: ColourSam, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["predict", square, "--everything", "--points-per-side", "4", "--json"])

    answer = json.loads(capsys.readouterr().out)
    assert code == 0
    assert sorted(mask["box"] for mask in answer["masks"]) == [[0, 0, 128, 96], [32, 24, 80, 72]]


def test_the_classical_segmenter_answers_points_and_boxes(square: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(
        [
            "predict",
            square,
            "--model",
            "classical",
            "--point",
            "50,50",
            "--point",
            "5,5,0",
            "--box",
            "25,18,88,80",
            "--json",
        ]
    )

    answer = json.loads(capsys.readouterr().out)
    assert code == 0
    assert answer["model"] == "classical"
    (mask,) = answer["masks"]
    decoded = run_lengths_from_coco(mask["rle"]).mask
    assert decoded[48, 55]
    assert not decoded[5, 5]


def test_several_boxes_are_an_object_each(square: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["predict", square, "--model", "classical", "--box", "25,18,88,80", "--box", "1,1,20,20", "--json"])

    assert code == 0
    assert len(json.loads(capsys.readouterr().out)["masks"]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --point, --box or --everything"),
        (["--point", "5"], "--point 5: needed: 2 or 3 finite numbers"),
        (["--point", "5,x"], "--point 5,x: not numbers"),
        (["--point", "5,nan"], "--point 5,nan"),
        (["--point", "5,5,2"], "the label must be 1 (positive) or 0 (negative)"),
        (["--box", "1,2,3"], "--box 1,2,3: needed: 4 finite numbers"),
        (["--box", "1,2,3,4", "--box", "1,2,3,4", "--point", "1,2"], "--point with 2 boxes"),
        (["--everything", "--point", "5,5"], "--everything cannot be combined"),
        (
            ["--everything", "--model", "classical"],
            "--everything: the classical segmenter supports points and boxes only",
        ),
        (["--point", "5,5", "--model", "samovar"], "'samovar'"),
        (["--box", "50,50,20,20", "--model", "classical"], "--box 50,50,20,20 has no area"),
        (["--box", "500,50,520,70", "--model", "classical"], "--box 500,50,520,70 is outside"),
        (["--point", "500,50", "--model", "classical"], "--point 500,50 is outside the image of 128 x 96"),
        (["--point", "5,5", "--model", "classical", "--out", "overlay.xyz"], "unknown file extension"),
        (["--point", "5,5", "--model", "classical", "--out", "no/such/folder.png"], "no/such/folder.png"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    square: str, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    code = main(["predict", square, "--json", *arguments])

    said, errors = capsys.readouterr()
    assert code == 2
    assert said == ""
    assert errors.count("\n") == 1
    assert message in errors


def test_a_picture_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "nowhere.jpg", "--point", "5,5"]) == 2
    assert "'nowhere.jpg' does not exist" in capsys.readouterr().err


def test_weights_that_cannot_be_had_are_code_1(
    square: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SAM_WEIGHTS_DIR", str(tmp_path / "weights"))
    monkeypatch.setenv("SAM_OFFLINE", "1")

    assert main(["predict", square, "--point", "5,5"]) == 1
    assert "mobile_sam.pt" in capsys.readouterr().err


def test_a_checkpoint_file_works_from_end_to_end(
    square: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = write_seeded_checkpoint(tmp_path / "mobile_sam.pt")

    code = main(["predict", square, "--model", str(checkpoint), "--point", "50,50", "--json"])

    assert code == 0
    assert json.loads(capsys.readouterr().out)["model"] == "mobile_sam"
