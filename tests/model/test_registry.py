import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sam_model import registry
from sam_model.registry import checkpoint_path, load_detector, load_segmenter
from sam_model.types import Point, Prompt
from sam_model.weights.catalog import WeightFile
from sam_model.weights.errors import WeightsUnavailableError
from sam_model.weights.store import WeightStore
from sam_model.yolo.detector import YoloDetector
from sam_testing.seeded_checkpoints import write_seeded_checkpoint
from sam_testing.web_server import Answer, serving
from sam_testing.yolo_files import SIZE_N, write_yolo_file


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_seeded_checkpoint(tmp_path_factory.mktemp("weights") / "seeded.pt")


def test_a_checkpoint_becomes_a_segmenter_that_segments(checkpoint: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)

    segmenter = load_segmenter(str(checkpoint))
    answer = segmenter.segment(segmenter.embed(image), [Prompt((Point(30, 20),))])[0]

    assert answer.mask.shape == (40, 60)
    assert answer.low_res_logits is not None
    assert answer.low_res_logits.shape == (256, 256)
    assert segmenter.fingerprint.startswith("mobile_sam-")
    assert segmenter.fingerprint.endswith("-float32")


def test_a_name_is_fetched_verified_and_loaded(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = checkpoint.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    with serving(lambda asked: Answer(content)) as server:
        weights = WeightFile("mobile_sam", "mobile_sam.pt", f"{server.url}/m.pt", sha256, len(content), "Apache-2.0")
        monkeypatch.setattr(registry, "find_weights", {"mobile_sam": weights}.__getitem__)

        segmenter = load_segmenter("mobile_sam", store=WeightStore(tmp_path))

    assert segmenter.name == "mobile_sam"
    assert (tmp_path / "mobile_sam.pt").read_bytes() == content


@pytest.mark.parametrize("name", ["sam_b.pt", "./sam_b.pt", "sam_b"])
def test_a_file_that_is_there_goes_before_a_name(
    name: str, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(checkpoint.read_bytes())
    store = WeightStore(tmp_path / "store", is_offline=True)

    if name == "sam_b":  # without folder or suffix it is a name
        with pytest.raises(WeightsUnavailableError):
            checkpoint_path(name, store)
    else:
        assert checkpoint_path(name, store) == Path(name)


@pytest.mark.parametrize("name", ["sam_x", "/no/such/file.pt", ""])
def test_what_is_neither_file_nor_model_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"unknown model '{name}': neither a file nor one of classical"):
        load_segmenter(name)


@pytest.mark.parametrize("wish", [{"device": "gpu"}, {"dtype": "int8"}])
def test_a_device_or_precision_that_is_not_there_is_named(checkpoint: Path, wish: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(wish.values()))):
        load_segmenter(str(checkpoint), **wish)


def test_the_classical_segmenter_needs_no_pytorch() -> None:
    script = "import sys; from sam_model.registry import load_segmenter as load; load('classical')\n"
    script += "print('torch' in sys.modules, 'urllib3' in sys.modules)"

    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert answer.stdout == "False False\n"


def test_a_model_of_the_other_kind_is_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    store = WeightStore(tmp_path, is_offline=True)

    with pytest.raises(ValueError, match=r"'sam_b' cannot be used here; possible models: classical, .*yolov8n"):
        load_detector("sam_b", store=store)
    with pytest.raises(ValueError, match=r"'yolov8n' cannot be used here; possible models: classical, mobile_sam"):
        load_segmenter("yolov8n", store=store)
    with pytest.raises(WeightsUnavailableError):  # FastSAM is both
        load_detector("fastsam_s", store=store)


def test_only_a_yolo_has_an_image_size_to_choose(tmp_path: Path) -> None:
    detector = load_detector(str(write_yolo_file(tmp_path / "own.pt", SIZE_N)), image_size=320)

    assert isinstance(detector, YoloDetector)
    assert detector.image_size == 320
    with pytest.raises(ValueError, match="image size 320: the classical detector has a fixed one"):
        load_detector("classical", image_size=320)
