from pathlib import Path

import pytest
import torch

from sam_model.registry import load_text_detector
from sam_model.weights.errors import BrokenWeightsError
from sam_testing.tiny_transformers import write_tiny_owl


@pytest.fixture
def owl_folder(tmp_path: Path) -> Path:
    return write_tiny_owl(tmp_path / "tiny_owl")


def rewritten(folder: Path, change: dict[str, torch.Tensor | None]) -> Path:
    """Replace tensors of a folder's weights; None removes one."""
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors") | change
    save_file(
        {name: tensor for name, tensor in state.items() if tensor is not None},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    return folder


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokenWeightsError, match=r"the folder has no config\.json; needed: a folder written by"):
        load_text_detector(str(tmp_path))


@pytest.mark.parametrize("config", ["{", "[]", '{"model_type": 1}'])
def test_a_broken_config_is_named(tmp_path: Path, config: str) -> None:
    (tmp_path / "config.json").write_text(config)

    with pytest.raises(BrokenWeightsError, match=r"config\.json (is not JSON|has no model_type)"):
        load_text_detector(str(tmp_path))


def test_a_folder_of_another_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')

    with pytest.raises(BrokenWeightsError, match="model_type 'bert' is not that of a text detector; known: owlv2"):
        load_text_detector(str(tmp_path))


def test_pickled_weights_are_not_read(owl_folder: Path) -> None:
    (owl_folder / "model.safetensors").unlink()
    torch.save({}, owl_folder / "pytorch_model.bin")

    with pytest.raises(BrokenWeightsError, match="safetensors"):
        load_text_detector(str(owl_folder))


def test_truncated_weights_are_named(owl_folder: Path) -> None:
    weights = owl_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])

    with pytest.raises(BrokenWeightsError, match=r"could not load tiny_owl: model\.safetensors is cut off"):
        load_text_detector(str(owl_folder))


def test_weights_of_another_model_are_named(owl_folder: Path) -> None:
    """Transformers itself gives missing weights random values."""
    rewritten(owl_folder, {"layer_norm.weight": None, "class_head.dense0.bias": torch.zeros(3)})

    with pytest.raises(
        BrokenWeightsError,
        match=r"not those of Owlv2ForObjectDetection: layer_norm\.weight is missing; class_head\.dense0\.bias has shape"
        r" \(3,\); needed: \(16,\)",
    ):
        load_text_detector(str(owl_folder))


@pytest.mark.parametrize("pattern", ["*token*", "preprocessor_config.json"])
def test_a_missing_file_of_the_preprocessing_is_named(owl_folder: Path, pattern: str) -> None:
    for file in owl_folder.glob(pattern):
        file.unlink()

    with pytest.raises(BrokenWeightsError, match=r"tiny_owl lacks a file of the model; needed: \w+\.json"):
        load_text_detector(str(owl_folder))


def test_a_missing_library_is_named(owl_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)

    with pytest.raises(BrokenWeightsError, match=r"not installed: pip install 'label-studio-sam\[transformers\]'"):
        load_text_detector(str(owl_folder))
