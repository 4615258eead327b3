import json
from pathlib import Path

import PIL.Image
import pytest

from sam_backend.commands.main import main
from sam_model.benchmark import compared_model, model_speed
from sam_model.runtime import choice
from sam_model.sam_checkpoints import SIZES
from sam_testing.blot_images import save_blots
from sam_testing.seeded_checkpoints import (
    TINY_EFFICIENT_TAM,
    TINY_HQ_SAM,
    TINY_MOBILE_SAM,
    TINY_SAM2,
    TINY_VIT_SAM,
    seeded_sam,
)


@pytest.fixture(autouse=True)
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_speed, "REPEATS", 1)  # the numbers do not matter here
    monkeypatch.setenv("SAM_WEIGHTS_DIR", str(tmp_path / "weights"))
    monkeypatch.setenv("SAM_OFFLINE", "1")


def test_the_table_names_the_models_and_says_that_weights_are_random(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = save_blots(tmp_path / "a.png")

    assert main(["bench", "models", "--models", "yolov8n-seg,FastSAM-s.pt", "--image", str(picture)]) == 0

    said = capsys.readouterr().out
    lines = said.splitlines()
    assert lines[0].startswith("60 x 50 pixels, ")
    (yolo,) = [line for line in lines if line.startswith("yolov8n-seg*")]
    (fast_sam,) = [line for line in lines if line.startswith("fastsam_s*")]
    assert yolo.split()[1:3] == ["7.1", "3.4"]
    assert yolo.split()[3:5] == ["-", "-"]
    assert yolo.split()[-1] == fast_sam.split()[-1] == "AGPL-3.0"
    assert "* random weights" in lines[-1]


def test_a_sam_of_each_family_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    families = {
        "sam_b": TINY_VIT_SAM,
        "mobile_sam": TINY_MOBILE_SAM,
        "sam_hq_tiny": TINY_HQ_SAM,
        "sam2.1_hiera_tiny": TINY_SAM2,
        "efficienttam_ti": TINY_EFFICIENT_TAM,
    }
    small = {SIZES[name].name: size for name, size in families.items()}
    monkeypatch.setattr(compared_model, "_seeded_sam", lambda size: seeded_sam(small[size.name]))
    names = ",".join(families)
    image = str(save_blots(tmp_path / "a.png"))

    options = ["--models", names, "--points-per-side", "2", "--image", image, "--device", "cpu", "--json"]
    assert main(["bench", "models", *options]) == 0

    rows = json.loads(capsys.readouterr().out)["rows"]
    assert ",".join(row["name"] for row in rows) == names
    assert all(row["prompt_ms"] > 0 and row["everything_ms"] > 0 for row in rows)
    assert all(row["next_prompt_ms"] is not None for row in rows)


def test_json_is_all_there_is_on_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plot = tmp_path / "deep" / "plot.png"
    picture = str(save_blots(tmp_path / "a.png"))

    assert main(["bench", "models", "--models", "yolov8n", "--json", "--plot", str(plot), "--image", picture]) == 0

    said = json.loads(capsys.readouterr().out)
    (row,) = said["rows"]
    assert row["name"] == "yolov8n"
    assert row["is_seeded"] is True
    assert row["everything_ms"] > 0
    assert row["prompt_ms"] is None
    assert said["image_size"] == [50, 60]
    assert said["machine"]["threads"] >= 1
    with PIL.Image.open(plot) as drawn:
        assert drawn.width == 1260


@pytest.mark.parametrize("is_json", [False, True])
def test_the_runtimes_of_a_model_are_compared_with_their_masks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], is_json: bool
) -> None:
    monkeypatch.setattr(compared_model, "_seeded_sam", lambda _: seeded_sam(TINY_MOBILE_SAM))
    monkeypatch.setattr(choice, "_openvino_problem", lambda *_: "a conversion takes too long for a test")
    plot = tmp_path / "plot.png"
    options = ["--image", str(save_blots(tmp_path / "a.png")), "--rounds", "2", "--device", "cpu", "--plot", str(plot)]

    assert main(["bench", "runtimes", *options, *(["--json"] if is_json else [])]) == 0

    said = capsys.readouterr().out
    with PIL.Image.open(plot) as drawn:
        assert drawn.width == 1260
    if is_json:
        found = json.loads(said)
        assert found["runtime"] == "float32"
        assert found["is_seeded"] is True
        assert found["iou"] == [1.0, 1.0]
        assert list(found["rows"]) == ["embed", "1 point", "1 box"]
        row = found["rows"]["1 box"]
        assert row["rounds"] == 2
        assert row["auto"]["range"][0] <= row["auto"]["ratio"] <= row["auto"]["range"][1]
    else:
        lines = said.splitlines()
        assert lines[0].startswith("mobile_sam*, 60 x 50 pixels, ")
        assert [line.split()[0] for line in lines[3:6]] == ["embed", "1", "1"]
        assert "minimum 1.0000, mean 1.0000" in said
        assert "* random weights" in lines[-1]


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--model", "yolov8n"], "--model yolov8n: needed: a SAM"), (["--rounds", "0"], "--rounds 0 is less than 1")],
)
def test_runtimes_of_what_cannot_be_compared_are_refused(
    capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    assert main(["bench", "runtimes", *options]) == 2

    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--models", "yolov99"], "unknown weights 'yolov99'"),
        (["--models", "yolov8n", "--points-per-side", "-1"], "--points-per-side -1"),
        (["--models", "yolov8n", "--image", "nowhere.png"], "'nowhere.png' does not exist"),
        (["--models", "yolov8n", "--device", "abacus"], "abacus"),
    ],
)
def test_bad_input_is_named_in_one_line(capsys: pytest.CaptureFixture[str], options: list[str], words: str) -> None:
    assert main(["bench", "models", *options]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
