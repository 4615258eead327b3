"""Checkpoints that are right, cut off, of something else, or hostile."""

import pickle
import random
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sam_model.registry import load_segmenter
from sam_model.sam_checkpoints import load_sam, sam_from_state
from sam_model.weights.errors import BrokenWeightsError
from sam_model.weights.loading import read_checkpoint
from sam_testing.gadgets import CONTAINERS, PICKLES
from sam_testing.seeded_checkpoints import (
    TINY_MOBILE_SAM,
    TINY_VIT_SAM,
    seeded_state,
    write_seeded_checkpoint,
)

SIZES = (TINY_VIT_SAM, TINY_MOBILE_SAM)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_seeded_checkpoint(tmp_path / "tiny.pt", TINY_MOBILE_SAM)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.name)
def test_the_architecture_is_recognised(tmp_path: Path, size: type) -> None:
    path = write_seeded_checkpoint(tmp_path / "some name.pth", size)

    model = load_sam(path, SIZES)

    assert model.size is size
    expected = seeded_state(size)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())
    assert not model.training


def test_a_mobile_sam_file_is_recognised_by_its_path(tmp_path: Path) -> None:
    path = write_seeded_checkpoint(tmp_path / "my weights.pt")

    assert load_segmenter(str(path)).name == "mobile_sam"


@pytest.mark.parametrize("wrapper", ["model", "state_dict"])
def test_the_wrappers_of_training_scripts_are_taken_off(tmp_path: Path, wrapper: str) -> None:
    path = tmp_path / "tuned.pt"
    torch.save({wrapper: seeded_state(TINY_VIT_SAM), "epoch": 3}, path)

    assert load_sam(path, SIZES).size is TINY_VIT_SAM


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module._orig_mod."])
def test_prefixes_of_training_tools_are_taken_off(tmp_path: Path, prefix: str) -> None:
    path = tmp_path / "tuned.pt"
    torch.save({f"{prefix}{name}": tensor for name, tensor in seeded_state(TINY_VIT_SAM).items()}, path)

    assert load_sam(path, SIZES).name == "tiny_vit_sam"


def test_the_suffix_of_a_file_does_not_matter(tmp_path: Path) -> None:
    state = seeded_state(TINY_VIT_SAM)
    save_file(state, tmp_path / "tensors.pt")
    torch.save(state, tmp_path / "pickle.safetensors")

    assert load_sam(tmp_path / "tensors.pt", SIZES).name == "tiny_vit_sam"
    assert load_sam(tmp_path / "pickle.safetensors", SIZES).name == "tiny_vit_sam"


def test_half_precision_files_become_float32(tmp_path: Path) -> None:
    path = tmp_path / "half.pt"
    state = seeded_state(TINY_MOBILE_SAM)
    torch.save({k: v.half() if v.is_floating_point() else v for k, v in state.items()}, path)

    model = load_sam(path, SIZES)

    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_safetensors_are_read(tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    save_file(seeded_state(TINY_VIT_SAM), path)

    assert load_sam(path, SIZES).size is TINY_VIT_SAM


def test_cut_off_safetensors_are_named(tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    save_file(seeded_state(TINY_VIT_SAM), path)
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(BrokenWeightsError, match=r"^could not load tiny\.safetensors: it is cut off: it has \d+ of "):
        load_sam(path, SIZES)


@pytest.mark.parametrize("kept", [0, 1, 100, 5_000, -1])
def test_a_cut_off_checkpoint_is_named_with_its_size(checkpoint: Path, kept: int) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:kept])
    size = checkpoint.stat().st_size

    with pytest.raises(BrokenWeightsError) as raised:
        load_sam(checkpoint, SIZES)

    assert str(raised.value).startswith("could not load tiny.pt")
    assert (str(size) if size else "it is empty") in str(raised.value)
    assert str(checkpoint.parent) not in str(raised.value)


def test_damaged_bytes_are_an_error_of_ours_or_none(checkpoint: Path) -> None:
    """Bytes changed anywhere, and in the pickle in particular: never another error, never a crash."""
    content = checkpoint.read_bytes()
    start = content.index(b"data.pkl")
    chance = random.Random(1)
    refused = 0

    for trial in range(60):
        damaged = bytearray(content)
        for _ in range(1 + trial % 3):
            damaged[start + chance.randrange(3_000) if trial % 2 else chance.randrange(len(content))] ^= (
                1 << chance.randrange(8)
            )
        checkpoint.write_bytes(damaged)
        try:
            load_sam(checkpoint, SIZES)
        except BrokenWeightsError:
            refused += 1

    assert refused > 10


def test_missing_unknown_and_misshapen_tensors_are_listed() -> None:
    state = seeded_state(TINY_VIT_SAM)
    del state["mask_decoder.iou_token.weight"]
    state["mask_decoder.extra"] = torch.ones(1)
    state["prompt_encoder.no_mask_embed.weight"] = torch.ones(1, 31)

    with pytest.raises(BrokenWeightsError) as raised:
        sam_from_state(state, "tuned.pt", SIZES)

    assert str(raised.value) == (
        "tuned.pt is not a checkpoint of tiny_vit_sam, the most similar model: "
        "1 missing: mask_decoder.iou_token.weight; 1 unknown: mask_decoder.extra; "
        "1 of another shape: prompt_encoder.no_mask_embed.weight (1, 31) instead of (1, 32)"
    )


def test_long_lists_are_cut() -> None:
    state = seeded_state(TINY_VIT_SAM) | {f"extra.{i}": torch.ones(1) for i in range(100)}

    with pytest.raises(BrokenWeightsError, match=r"100 unknown: extra\.0, .*extra\.4, \.\.\.$"):
        sam_from_state(state, "tuned.pt", SIZES)


def test_a_checkpoint_of_something_else_is_named(tmp_path: Path) -> None:
    path = tmp_path / "resnet.pt"
    torch.save({"conv1.weight": torch.ones(3), "fc.bias": torch.ones(2)}, path)

    with pytest.raises(BrokenWeightsError) as raised:
        load_segmenter(str(path))

    assert str(raised.value) == (
        "resnet.pt is not a checkpoint of SAM, MobileSAM, HQ-SAM, SAM 2 or EfficientTAM; its first tensors are "
        "conv1.weight, fc.bias"
    )


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("detector.backbone.vision_backbone.trunk.pos_embed", r"SAM 3's checkpoint .* weights download sam3"),
        ("spatial_perceiver.latents", r"EdgeTAM's checkpoint .* weights download edgetam"),
        ("vision_encoder.neck.convs.0.weight", r"a file of a model of transformers; needed: its folder"),
        ("model.0.conv.weight", r"a state dict of a YOLO; needed: the file that Ultralytics writes"),
    ],
)
def test_a_checkpoint_of_another_kind_is_named_as_what_it_is(key: str, message: str) -> None:
    with pytest.raises(BrokenWeightsError, match=rf"^other\.pt is {message}"):
        sam_from_state({"image_encoder.a": torch.ones(1), key: torch.ones(2)}, "other.pt", SIZES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(2)], "holds an object of type list"),
        ({}, "is empty"),
        ({"a": 3}, "holds an object of type int under 'a'"),
        ({3: torch.ones(1)}, "holds an object of type Tensor under 3"),
        (torch.ones(2), "holds an object of type Tensor"),
    ],
)
def test_what_is_no_state_dict_is_named(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "odd.pt"
    torch.save(content, path)

    with pytest.raises(BrokenWeightsError, match=f"^odd.pt {message}"):
        read_checkpoint(path)


def test_a_folder_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(BrokenWeightsError, match="does not exist or is not a file"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("gadget", PICKLES)
def test_the_gadgets_are_real(tmp_path: Path, gadget: str) -> None:
    """They run in a plain unpickler: otherwise the tests below would show nothing."""
    marker = tmp_path / "marker"

    pickle.loads(PICKLES[gadget](marker))

    assert marker.exists()


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("gadget", PICKLES)
def test_code_in_a_checkpoint_is_named_and_does_not_run(tmp_path: Path, gadget: str, container: str) -> None:
    marker = tmp_path / "marker"
    path = tmp_path / "evil.pt"
    path.write_bytes(CONTAINERS[container](PICKLES[gadget](marker)))

    with pytest.raises(BrokenWeightsError) as raised:
        load_segmenter(str(path))

    assert not marker.exists()
    assert re.match(r"could not load evil\.pt( \(\d+ bytes\))?[:,]", str(raised.value))
    assert str(tmp_path) not in str(raised.value)


@pytest.mark.parametrize(
    ("gadget", "name"),
    [("reduce", "posix.system"), ("build", "sam_testing.gadgets.RunsOnBuild"), ("eval", "eval")],
)
def test_what_the_code_wanted_is_said(tmp_path: Path, gadget: str, name: str) -> None:
    path = tmp_path / "evil.pt"
    path.write_bytes(CONTAINERS["zip"](PICKLES[gadget](tmp_path / "marker")))

    with pytest.raises(BrokenWeightsError, match=f"asks for {name}, but weights are tensors only"):
        read_checkpoint(path)
