import json
from pathlib import Path

import PIL.Image
import pytest

from sam_backend.commands.main import main
from sam_model.benchmark import model_speed
from sam_testing.blot_images import save_blots


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
