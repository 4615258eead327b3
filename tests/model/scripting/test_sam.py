import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import torch

import sam_model
from sam_model import SAM, SAMPredictor
from sam_model.sam.segmenter import SamSegmenter
from sam_model.scripting import sam as sam_scripting
from sam_model.weights.errors import WeightsError
from sam_testing.colour_sam import ColourSam
from sam_testing.seeded_checkpoints import TINY_MOBILE_SAM, seeded_sam, write_seeded_checkpoint


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("photos") / "zidane.png"
    shades = np.random.default_rng(0).integers(0, 256, (18, 32, 3), dtype=np.uint8)
    cv2.imwrite(str(path), cv2.resize(shades, (1280, 720), interpolation=cv2.INTER_CUBIC))
    return str(path)


@pytest.fixture(scope="module")
def tiny() -> SamSegmenter:
    return SamSegmenter(seeded_sam(TINY_MOBILE_SAM), "tiny")


@pytest.fixture
def model(tiny: SamSegmenter, monkeypatch: pytest.MonkeyPatch) -> SAM:
    monkeypatch.setattr(sam_scripting, "load_sam", lambda *_: tiny)
    return SAM("sam_b.pt")


def test_the_documentation_s_prompts_run(model: SAM, photo: str) -> None:
    def shape(**prompts: object) -> tuple[int, ...]:
        (results,) = model(photo, conf=0.0, **prompts)
        return results.masks.shape

    assert shape(bboxes=[439, 437, 524, 709]) == (1, 720, 1280)
    assert shape(points=[900, 370], labels=[1]) == (1, 720, 1280)
    (two_objects,) = model.predict(photo, points=[[400, 370], [900, 370]], labels=[1, 1], conf=0.0)
    assert two_objects.masks.shape == (2, 720, 1280)
    (one_object,) = model(photo, points=[[[400, 370], [900, 370]]], labels=[[1, 1]], conf=0.0)
    (with_negative,) = model(photo, points=[[[400, 370], [900, 370]]], labels=[[1, 0]], conf=0.0)
    assert one_object.masks.shape == with_negative.masks.shape == (1, 720, 1280)
    assert not torch.equal(one_object.masks.data, with_negative.masks.data)


def test_a_path_a_pillow_image_and_opencv_s_array_get_the_same_answer(model: SAM, photo: str) -> None:
    answers = [
        model(source, points=[900, 370], labels=[1], conf=0.0)[0].low_res_logits
        for source in (photo, Path(photo), PIL.Image.open(photo), cv2.imread(photo))
    ]

    for answer in answers[1:]:
        assert np.array_equal(answer, answers[0])


def test_everything_runs_with_the_documentation_s_parameters(model: SAM, photo: str) -> None:
    (results,) = model(photo, points_stride=2, conf=0.0, conf_thres=0.0, stability_score_thresh=0.0, verbose=False)

    assert results.masks.shape[1:] == (720, 1280)
    assert len(results) >= 1


def test_each_image_has_its_results_and_its_line(
    model: SAM, photo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = np.zeros((30, 40, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "small.png"), small)

    both = model([photo, tmp_path / "small.png"], points=[20, 20], conf=0.0)
    said = capsys.readouterr().out
    stream = model([photo, small], stream=True, points=[20, 20], conf=0.0, verbose=False)

    assert isinstance(both, list)
    assert [results.orig_shape for results in both] == [(720, 1280), (30, 40)]
    assert [Path(results.path).name for results in both] == ["zidane.png", "small.png"]
    assert "image 1/2" in said
    assert "30x40 1 0, " in said
    assert next(stream).orig_shape == (720, 1280)
    assert next(stream).path == "image1.jpg"
    assert list(stream) == []
    assert capsys.readouterr().out == ""


def test_without_a_source_the_sample_images_are_used(model: SAM, caplog: pytest.LogCaptureFixture) -> None:
    stream = model(stream=True, points=[5, 5], verbose=False)

    assert Path(next(stream).path).parent == sam_model.ASSETS
    assert "no source was given; using the sample images" in caplog.text
    assert model.names == {}


def test_images_labels_and_crops_are_written(
    model: SAM, photo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    for _ in range(2):
        (results,) = model(photo, bboxes=[439, 437, 524, 709], conf=0, save=True, save_txt=True, save_crop=True)
    model(photo, bboxes=[439, 437, 524, 709], conf=0, save=True, project="out", name="run", exist_ok=True)

    assert results.save_dir == str(Path("runs/segment/predict-2"))
    assert sorted(str(path) for path in Path("runs/segment").iterdir()) == [
        "runs/segment/predict",
        "runs/segment/predict-2",
    ]
    assert cv2.imread("runs/segment/predict-2/zidane.jpg").shape == (720, 1280, 3)
    assert Path("runs/segment/predict-2/labels/zidane.txt").read_text().startswith("0 ")
    assert Path("runs/segment/predict-2/crops/0/zidane.jpg").exists()
    assert Path("out/run/zidane.jpg").exists()
    assert "Results saved to runs/segment/predict-2" in capsys.readouterr().out


def test_a_checkpoint_of_mobile_sam_answers_and_info_prints_its_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = SAM(str(write_seeded_checkpoint(tmp_path / "mobile_sam.pt")))

    (results,) = model(np.zeros((30, 40, 3), np.uint8), bboxes=[4, 3, 20, 25], conf=0.0, verbose=False)
    info = model.info()

    assert results.masks.shape == (1, 30, 40)
    assert results.low_res_logits.shape == (1, 256, 256)
    assert model.to("cpu").device == torch.device("cpu")
    assert info.parameters == 10_130_092
    assert "mobile_sam: " in capsys.readouterr().out
    assert model.info(verbose=False) == info


def test_the_predictor_takes_the_documentation_s_overrides(
    tiny: SamSegmenter, photo: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sam_scripting, "load_sam", lambda *_: tiny)
    overrides = {"conf": 0.0, "task": "segment", "mode": "predict", "imgsz": 1024, "model": "mobile_sam.pt"}
    predictor = SAMPredictor(overrides={**overrides, "verbose": False})

    predictor.set_image(photo)
    (results,) = predictor(bboxes=[439, 437, 524, 709])
    predictor.reset_image()

    assert results.masks.shape == (1, 720, 1280)
    assert capsys.readouterr().out == ""


def test_the_call_s_own_arguments_are_stronger_than_the_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sam_scripting, "load_sam", lambda *_: ColourSam())  # its masks are of 0.95, 0.9 and 0.5
    image = np.zeros((64, 96, 3), np.uint8)

    def count(overridden: float, **parameters: object) -> int:
        predictor = SAMPredictor({"model": "colour", "conf": overridden})
        return len(predictor(source=image, points_stride=2, iou=1.0, **parameters)[0])

    assert count(0.25) == 4
    assert count(0.97) == 0
    assert count(0.97, conf=0.25) == 4


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({}, "'model' is missing"),
        ({"model": "x.pt", "task": "detect"}, "task='detect'"),
        ({"model": "x.pt", "imgsz": 640}, "imgsz=1024"),
        ({"model": "x.pt", "classes": [1]}, "SAM has no classes"),
        ({"model": "x.pt", "halb": True}, "unknown key 'halb'"),
    ],
)
def test_overrides_that_are_not_for_sam_are_named(
    overrides: dict[str, object], message: str, tiny: SamSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sam_scripting, "load_sam", lambda *_: tiny)

    with pytest.raises(ValueError, match=message):
        SAMPredictor(overrides)


def test_the_classical_segmenter_is_never_called_sam() -> None:
    with pytest.raises(ValueError, match=r'load_segmenter\("classical"\)'):
        SAM("classical")


def test_an_unknown_model_is_named() -> None:
    with pytest.raises(ValueError, match="'samovar'"):
        SAM("samovar")


def test_missing_weights_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM_WEIGHTS_DIR", str(tmp_path))
    monkeypatch.setenv("SAM_OFFLINE", "1")

    with pytest.raises(WeightsError, match=r"sam_vit_b_01ec64\.pth"):
        SAM("sam_b.pt")


def test_the_package_and_the_classical_segmenter_leave_pytorch_alone() -> None:
    script = "import sys, sam_model; sam_model.load_segmenter('classical'); sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_the_package_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Sam'"):
        _ = sam_model.Sam
