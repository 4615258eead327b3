"""Each family of models does all that SAM does, with small seeded weights; real processes answer clicks with some."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from sam_backend.commands.main import main
from sam_backend.images.fetch import ImageFetcher, fetch_limits
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.preannotation.loading import load_preannotator
from sam_backend.preannotation.outcome import BulkTask
from sam_backend.protocol.regions import PromptRegion, RotatedRectangle
from sam_backend.segmenter.choice import choose_model
from sam_backend.settings import Settings, SettingsError
from sam_backend.shapes.brush_rle import decode_mask
from sam_model import SAM, SAMPredictor, auto_annotate
from sam_model.registry import load_segmenter
from sam_model.sam.sizes import SIZES as SAM_SIZES
from sam_model.sam2.sizes import SIZES as SAM2_SIZES
from sam_model.sam_checkpoints import SIZES, AnySize
from sam_model.types import Image, Point, Prompt
from sam_model.weights.errors import BrokenWeightsError
from sam_model.weights.store import store_from_env
from sam_testing.backend_program import BackendProgram
from sam_testing.converted_networks import converted_segmenter
from sam_testing.label_studio import BRUSH_CONFIG, key_point, predict_request
from sam_testing.seeded_checkpoints import (
    TINY_EFFICIENT_TAM,
    TINY_HQ_SAM,
    TINY_MOBILE_SAM,
    TINY_SAM2,
    TINY_VIT_SAM,
    write_seeded_checkpoint,
)
from sam_testing.tiny_transformers import write_tiny_sam3_tracker
from sam_testing.tiny_weights import use_small_grids
from sam_testing.yolo_files import write_yolo_file

HEIGHT, WIDTH = 60, 90
TINY_SIZES = (TINY_VIT_SAM, TINY_MOBILE_SAM, TINY_HQ_SAM, TINY_SAM2, TINY_EFFICIENT_TAM)


def checkpoint_of(size: AnySize) -> Callable[[Path], Path]:
    return lambda folder: write_seeded_checkpoint(folder / f"{size.name}.pt", size)


FAMILIES: dict[str, Callable[[Path], Path]] = {
    "sam": checkpoint_of(TINY_VIT_SAM),
    "mobile_sam": checkpoint_of(TINY_MOBILE_SAM),
    "hq_sam": checkpoint_of(TINY_HQ_SAM),
    "sam2": checkpoint_of(TINY_SAM2),
    "efficient_tam": checkpoint_of(TINY_EFFICIENT_TAM),
    "sam3": lambda folder: write_tiny_sam3_tracker(folder / "sam3"),
}
FAMILIES_WITH_FAST_SAM = FAMILIES | {
    "fast_sam": lambda folder: write_yolo_file(folder / "FastSAM-tiny.pt", names=("object",), has_masks=True)
}
ESSENTIAL = ("sam2", "sam3")  # the others have tests of their own; here they are slow
EACH_FAMILY = [
    pytest.param(name, marks=() if name in ESSENTIAL else pytest.mark.slow) for name in FAMILIES_WITH_FAST_SAM
]
EACH_SAM = EACH_FAMILY[: len(FAMILIES)]  # FastSAM has a class of its own for scripts, and takes no masks as prompts


@pytest.fixture(scope="module")
def image() -> Image:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def photo(image: Image, tmp_path: Path) -> Path:
    path = tmp_path / "photos" / "photo.png"
    path.parent.mkdir()
    PIL.Image.fromarray(image).save(path)
    return path


@pytest.fixture
def weights(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAM_WEIGHTS_DIR", str(tmp_path / "weights"))
    monkeypatch.setenv("SAM_OFFLINE", "1")
    for size in TINY_SIZES:
        monkeypatch.setitem(SIZES, size.name, size)
    use_small_grids(monkeypatch)
    return FAMILIES_WITH_FAST_SAM[request.param](tmp_path)


@pytest.mark.parametrize("weights", EACH_SAM, indirect=True)
def test_scripts_segment_prompts_masks_and_everything(weights: Path, image: Image) -> None:
    model: Any = SAM(str(weights))
    bgr = np.ascontiguousarray(image[..., ::-1])

    (by_point,) = model(bgr, points=[40, 30], labels=[1], conf=0, verbose=False)
    (by_box,) = model(bgr, bboxes=[10, 5, 60, 45], conf=0, verbose=False)
    (everything,) = model(bgr, conf=0, verbose=False)

    assert model.info(verbose=False).parameters > 1000
    assert by_point.masks.data.shape == by_box.masks.data.shape == (1, HEIGHT, WIDTH)
    assert everything.masks is None or everything.masks.data.shape[1:] == (HEIGHT, WIDTH)
    predictor = SAMPredictor(overrides={"model": str(weights)})
    predictor.set_image(bgr)
    (again,) = predictor(points=[40, 30], labels=[1], conf=0)
    mask = np.zeros((HEIGHT, WIDTH), np.float32)
    mask[20:40, 30:60] = 1
    (by_mask,) = predictor(points=[40, 30], labels=[1], masks=mask, conf=0)
    assert (again.masks.data == by_point.masks.data).all()
    assert (by_mask.masks.data != by_point.masks.data).any()


@pytest.mark.parametrize("weights", EACH_FAMILY, indirect=True)
def test_the_command_line_predicts_and_a_folder_is_annotated(
    weights: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    detector = write_yolo_file(tmp_path / "yolov8n.pt", finds_few=True)

    assert main(["predict", str(photo), "--model", str(weights), "--box", "10,5,60,45", "--json"]) == 0
    (predicted,) = json.loads(capsys.readouterr().out)["images"]
    report = auto_annotate(photo.parent, str(detector), str(weights), "cpu", output_dir=str(tmp_path / "labels"))

    assert len(predicted["objects"]) == 1
    assert predicted["objects"][0]["rle"]["size"] == [HEIGHT, WIDTH]
    assert (report.images, report.failures) == (1, ())
    assert (tmp_path / "labels" / "photo.txt").exists()


@pytest.mark.parametrize("weights", EACH_FAMILY, indirect=True)
def test_a_run_segments_the_boxes_of_a_task(weights: Path, photo: Path, image: Image) -> None:
    settings = Settings(model=str(weights), device="cpu", runtime="torch", dtype="float32")
    configuration = RunConfiguration(1, detector="boxes", model=str(weights))
    fetcher = ImageFetcher(LabelStudioCredentials(None, None), fetch_limits(settings))
    box = PromptRegion("r1", RotatedRectangle(10, 10, 60, 60, 0), ("Cat",), "rect", "image")
    uri = f"data:image/png;base64,{base64.b64encode(photo.read_bytes()).decode()}"

    run = load_preannotator(configuration, BRUSH_CONFIG, "run-1", settings, store_from_env({}), fetcher)
    outcome = run.preannotate(BulkTask(1, {"image": uri}, (box,)))

    assert outcome.error is None
    assert outcome.prediction is not None
    (region,) = json.loads(outcome.prediction)["result"]
    segmenter = load_segmenter(str(weights), "cpu")
    (expected,) = segmenter.segment(segmenter.embed(image), [Prompt(box=(9, 6, 63, 42))])
    assert (decode_mask(region["value"]["rle"], HEIGHT, WIDTH) == expected.mask).mean() > 0.99


@pytest.mark.parametrize("weights", EACH_FAMILY, indirect=True)
def test_a_cut_off_file_is_named(weights: Path) -> None:
    file = weights / "model.safetensors" if weights.is_dir() else weights
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])

    with pytest.raises(BrokenWeightsError, match=rf"could not load .*{weights.name}"):
        load_segmenter(str(weights), "cpu")


def test_openvino_is_refused_for_a_folder(tmp_path: Path) -> None:
    settings = Settings(model=str(FAMILIES["sam3"](tmp_path)), device="cpu", runtime="openvino")

    with pytest.raises(SettingsError, match="SAM_RUNTIME='openvino' cannot run sam3, a model of transformers"):
        choose_model(settings, store_from_env({}))


def checkpoint_of_real_size(name: str, folder: Path) -> Path:
    return write_seeded_checkpoint(folder / f"{name}.pt", {**SAM_SIZES, **SAM2_SIZES}[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sam2.1_hiera_tiny", "sam3"])
def test_a_click_is_answered_over_http(name: str, photo: Path, image: Image, tmp_path: Path) -> None:
    weights = FAMILIES[name](tmp_path) if name in FAMILIES else checkpoint_of_real_size(name, tmp_path)
    uri = f"data:image/png;base64,{base64.b64encode(photo.read_bytes()).decode()}"
    click = key_point(50, 50, original_width=WIDTH, original_height=HEIGHT)
    is_sam = name.startswith("sam2")  # PyTorch runs models of transformers
    segmenter = converted_segmenter(weights) if is_sam else load_segmenter(str(weights), "cpu")
    program = BackendProgram(
        tmp_path / "log",
        SAM_MODEL=str(weights),
        SAM_RUNS_DIR=str(tmp_path / "runs"),
        SAM_ZOOM="off",
    )
    try:
        program.wait_until(lambda: program.ask("/ready")[0] == 200, 90)
        status, answer = program.ask("/predict", predict_request([click], data={"image": uri}))
    finally:
        program.stop()

    assert status == 200, answer
    (region,) = answer["results"][0]["result"]
    (expected,) = segmenter.segment(segmenter.embed(image), [Prompt((Point(45, 30),))])
    found = decode_mask(region["value"]["rle"], HEIGHT, WIDTH)
    assert (found & expected.mask).sum() / (found | expected.mask).sum() > 0.98
    assert answer["results"][0]["model_version"].startswith(f"{weights.stem}-")
