import numpy as np
import pytest
import torch

from sam_model.classical.segmenter import ClassicalSegmenter
from sam_model.runtime.torch_runtime import torch_device
from sam_model.sam import segmenter as segmenter_module
from sam_model.sam.segmenter import SamSegmenter
from sam_model.scripting.devices import device_name, model_device, move_model
from sam_model.types import Point, Prompt
from sam_testing.seeded_checkpoints import TINY_MOBILE_SAM, seeded_sam


@pytest.mark.parametrize("device", ["cpu", "CPU", torch.device("cpu")])
def test_the_cpu_has_its_name(device: object) -> None:
    assert device_name(device) == "cpu"


@pytest.mark.parametrize("device", [0, "0", "cuda:0"])
def test_a_number_is_a_cuda_device(device: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)

    assert device_name(device) == "cuda:0"


@pytest.mark.parametrize("device", ["", None, "auto"])
@pytest.mark.parametrize(("has_cuda", "has_mps", "best"), [(1, 1, "cuda"), (0, 1, "mps"), (0, 0, "cpu")])
def test_the_default_is_the_best_device(
    device: object, has_cuda: int, has_mps: int, best: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(has_cuda))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: bool(has_mps))

    assert device_name(device) == best


@pytest.mark.parametrize(
    ("device", "message"),
    [
        (3, "device 3 is not available: this machine has 1 CUDA devices"),
        ("cuda:3", "device 'cuda:3' is not available: this machine has 1 CUDA devices"),
        ("0,1", "unknown device '0,1'; known: auto, cpu, cuda"),
        (-1, "unknown device -1"),
        ("tpu", "unknown device 'tpu'"),
        ("mps", "device 'mps' is not available"),
    ],
)
def test_a_device_that_does_not_exist_is_one_sentence(
    device: object, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)

    with pytest.raises(ValueError, match=message):
        torch_device(device)


def test_only_models_in_pytorch_can_be_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    model = ClassicalSegmenter()

    move_model(model, "cpu")

    assert model_device(model) == torch.device("cpu")
    with pytest.raises(ValueError, match="device 'cuda:0': the model classical cannot be moved"):
        move_model(model, 0)


def test_a_moved_sam_has_all_its_tensors_on_the_new_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The device `meta` stands for a GPU."""
    sam = SamSegmenter(seeded_sam(TINY_MOBILE_SAM), "tiny")
    monkeypatch.setattr(segmenter_module, "torch_device", lambda _: torch.device("meta"))

    sam.to(0)

    tensors = [*sam.model.state_dict().values(), *(value for value in vars(sam).values() if torch.is_tensor(value))]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert model_device(sam) == torch.device("meta")


@pytest.mark.gpu
def test_a_model_answers_on_the_device_that_it_was_moved_to() -> None:
    sam = SamSegmenter(seeded_sam(TINY_MOBILE_SAM), "tiny")
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    prompt = [Prompt(points=(Point(20, 20),))]
    (before,) = sam.segment(sam.embed(image), prompt)

    move_model(sam, 0)
    (after,) = sam.segment(sam.embed(image), prompt)

    assert model_device(sam) == torch.device("cuda:0")
    assert after.score == pytest.approx(before.score, abs=1e-3)
