import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

import sam_model
from sam_model import SAM, SAMPredictor
from sam_model.sam.automatic_mask_settings import AutomaticMaskSettings
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
    assert model(photo, bboxes=[439, 437, 524, 709]).masks.shape == (1, 720, 1280)
    assert model(photo, points=[900, 370], labels=[1]).masks.shape == (1, 720, 1280)
    two_objects = model.predict(photo, points=[[400, 370], [900, 370]], labels=[1, 1])
    assert two_objects.masks.shape == (2, 720, 1280)
    one_object = model(photo, points=[[[400, 370], [900, 370]]], labels=[[1, 1]])
    with_negative = model(photo, points=[[[400, 370], [900, 370]]], labels=[[1, 0]])
    assert one_object.masks.shape == with_negative.masks.shape == (1, 720, 1280)
    assert not np.array_equal(one_object.masks, with_negative.masks)


def test_a_path_a_pillow_image_and_opencv_s_array_get_the_same_answer(model: SAM, photo: str) -> None:
    answers = [
        model(source, points=[900, 370], labels=[1]).low_res_logits
        for source in (photo, Path(photo), PIL.Image.open(photo), cv2.imread(photo))
    ]

    for answer in answers[1:]:
        assert np.array_equal(answer, answers[0])


def test_everything_runs_with_the_documentation_s_parameters(model: SAM, photo: str) -> None:
    results = model(photo, points_stride=2, conf=0.0, stability_score_thresh=0.0, show_progress=False)

    assert results.masks.shape[1:] == (720, 1280)
    assert len(results.scores) >= 1


def test_a_checkpoint_of_mobile_sam_answers_and_info_prints_its_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = SAM(str(write_seeded_checkpoint(tmp_path / "mobile_sam.pt")))

    results = model(np.zeros((30, 40, 3), np.uint8), bboxes=[4, 3, 20, 25])
    info = model.info()

    assert results.masks.shape == (1, 30, 40)
    assert results.low_res_logits is not None
    assert results.low_res_logits.shape == (1, 256, 256)
    assert info.parameters == 10_130_092
    assert info.layers > 100
    assert info.nbytes == 4 * info.parameters
    said = capsys.readouterr().out
    assert "mobile_sam" in said
    assert "10.1 M" in said
    assert "float32 on cpu" in said
    assert model.info(verbose=False) == info
    assert capsys.readouterr().out == ""


def test_the_predictor_takes_the_documentation_s_overrides(
    tiny: SamSegmenter, photo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sam_scripting, "load_sam", lambda *_: tiny)
    overrides = {"conf": 0.25, "task": "segment", "mode": "predict", "imgsz": 1024, "model": "mobile_sam.pt"}
    predictor = SAMPredictor(overrides=overrides)

    predictor.set_image(photo)
    results = predictor(bboxes=[439, 437, 524, 709])
    predictor.reset_image()

    assert results.masks.shape == (1, 720, 1280)


def test_the_overrides_conf_raises_the_grid_s_limit_and_never_lowers_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sam_scripting, "load_sam", lambda *_: ColourSam())  # its masks are of 0.95, 0.9 and 0.5
    image = np.zeros((64, 96, 3), np.uint8)

    def count(overridden: float, **parameters: object) -> int:
        predictor = SAMPredictor({"model": "colour", "conf": overridden})
        return len(predictor(source=image, points_stride=2, box_nms_thresh=1.0, **parameters).scores)

    assert AutomaticMaskSettings.pred_iou_thresh == 0.88
    assert count(0.25) == 4
    assert count(0.97) == 0
    assert count(0.97, conf=0.25) == 2 * 4  # the call's own counts: the good and the bad ones


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({}, "'model' is missing"),
        ({"model": "x.pt", "task": "detect"}, "task='detect'"),
        ({"model": "x.pt", "imgsz": 640}, "imgsz=640"),
        ({"model": "x.pt", "half": True}, "unknown key 'half'"),
    ],
)
def test_overrides_that_are_not_for_sam_are_named(overrides: dict[str, object], message: str) -> None:
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
