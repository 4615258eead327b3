"""Files that are no weights, or others than wanted, are named as what they are; nothing in them is executed."""

import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sam_backend.commands.main import main
from sam_model.registry import load_detector, load_segmenter
from sam_model.sam_checkpoints import SIZES, load_sam
from sam_model.weights.catalog import CATALOG, find_weights
from sam_model.weights.errors import BrokenWeightsError
from sam_model.weights.foreign_files import foreign_kind
from sam_model.weights.store import WeightStore
from sam_testing.seeded_checkpoints import MEMORY, TINY_SAM2, TINY_VIT_SAM, seeded_state, write_seeded_checkpoint
from sam_testing.yolo_files import write_yolo_file

PAGE = b"\n<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>"
PART = {name: tensor for name, tensor in seeded_state(TINY_VIT_SAM).items() if name.startswith("mask_decoder.")}
LORA = {f"base_model.model.image_encoder.blocks.0.attn.qkv.lora_{letter}.weight": torch.ones(2, 2) for letter in "AB"}
OF_TRAINING = {
    "model": seeded_state(TINY_SAM2) | MEMORY,
    "optimizer": {"optim": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-5}]}},
    "epoch": 3,
    "scaler": {"scale": 65536.0},
}


def cut_off(write: Callable[[Path], object]) -> Callable[[Path], object]:
    def write_half(path: Path) -> None:
        write(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return write_half


def write_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/mobile_sam.pt", b"?")


def write_numpy(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, weight=np.ones(3))


def write_tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.add(__file__, "mobile_sam.pt")


def write_program(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:  # as torch.jit.save writes it
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            archive.writestr(f"archive/{name}", b"\x80\x02.")


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a page": (lambda path: path.write_bytes(PAGE), "it is an HTML page, which a server sent in place of the weights"),
    "an error": (lambda path: path.write_text('{"error": "not found"}'), 'it is a text, which begins with \'{"error"'),
    "git lfs": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 40728226\n"),
        "it is a pointer of Git LFS, which names the weights only; run `git lfs pull`",
    ),
    "empty": (lambda path: path.touch(), "it is empty; download it again"),
    "a cut-off SAM": (cut_off(lambda path: write_seeded_checkpoint(path, TINY_VIT_SAM)), "it is cut off: it has "),
    "a cut-off SAM 2": (cut_off(lambda path: write_seeded_checkpoint(path, TINY_SAM2)), "it is cut off: it has "),
    "a cut-off FastSAM": (cut_off(lambda path: write_yolo_file(path, has_masks=True)), "it is cut off: it has "),
    "cut-off tensors": (cut_off(lambda path: save_file(PART, path)), "it is cut off: it has "),
    "cut-off names": (
        lambda path: path.write_bytes((200).to_bytes(8, "little") + b'{"iou_token": {"dtype"'),
        "it is cut off: it has 30 of 208 bytes",
    ),
    "numpy": (write_numpy, "it is an archive of NumPy"),
    "zip": (write_zip, "it is a zip archive without a checkpoint of PyTorch; extract the checkpoint"),
    "tar": (write_tar, "it is an archive of tar; extract the checkpoint"),
    "a program": (write_program, "it is a program of TorchScript, which is not executed"),
    "onnx": (lambda path: path.write_bytes(b"\x08\x08\x12\x07pytorch\x1a" + bytes(50)), "it is an ONNX model; needed"),
    "lora": (lambda path: save_file(LORA, path), "has the tensors of LoRA, which change a model"),
    "a part": (lambda path: torch.save(PART, path), "is a part of a checkpoint: it has no image_encoder and no prompt"),
    "a classifier": (
        lambda path: write_yolo_file(path, task="ClassificationModel"),
        "is a model of the task classify, which finds no boxes; needed: detect or segment",
    ),
    "noise": (lambda path: path.write_bytes(np.random.default_rng(0).bytes(999)), "it is damaged or not a checkpoint"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_checkpoint_is_named_as_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write, message = FILES[name]
    monkeypatch.setitem(SIZES, TINY_VIT_SAM.name, TINY_VIT_SAM)
    path = tmp_path / "mobile_sam.pt"
    write(path)

    with pytest.raises(BrokenWeightsError) as raised:
        load_segmenter(str(path), "cpu")

    said = str(raised.value)
    assert message in said
    assert said.startswith(("mobile_sam.pt ", "could not load mobile_sam.pt"))
    assert "\n" not in said
    assert len(said) < 300
    assert "weights_only" not in said, "PyTorch's advice to read the file with less care"
    assert str(tmp_path) not in said


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (FILES["a page"][0], "could not load it.pt: it is an HTML page"),
        (lambda path: write_seeded_checkpoint(path, TINY_VIT_SAM), "it.pt is a checkpoint of a SAM, which finds no ob"),
        (lambda path: torch.save(OF_TRAINING, path), "it.pt is a checkpoint of a SAM, which finds no objects; needed"),
        (lambda path: save_file(PART, path), "it.pt is a safetensors file, which has no layers; needed: the file that"),
        (lambda path: torch.save({"model.0.conv.weight": torch.ones(2)}, path), "it.pt has tensors without layers"),
    ],
    ids=["a page", "SAM", "SAM 2", "safetensors", "a state dict"],
)
def test_a_file_that_is_no_detector_is_named_as_what_it_is(
    tmp_path: Path, write: Callable[[Path], object], message: str
) -> None:
    write(tmp_path / "it.pt")

    with pytest.raises(BrokenWeightsError) as raised:
        load_detector(str(tmp_path / "it.pt"), "cpu")

    assert str(raised.value).startswith(message)


@pytest.mark.parametrize("size", [TINY_VIT_SAM, TINY_SAM2], ids=lambda size: size.name)
def test_weights_are_not_taken_for_something_else(tmp_path: Path, size: type) -> None:
    write_seeded_checkpoint(tmp_path / "zip.pt", size)
    torch.save(seeded_state(size), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    save_file(seeded_state(size), tmp_path / "tensors.safetensors")
    write_yolo_file(tmp_path / "yolo.pt", is_legacy=True)

    assert {foreign_kind(path) for path in tmp_path.iterdir()} == {""}


def test_a_checkpoint_of_sam_2s_training_is_read(tmp_path: Path) -> None:
    torch.save(OF_TRAINING, tmp_path / "checkpoint.pt")

    assert load_sam(tmp_path / "checkpoint.pt", [*SIZES.values(), TINY_SAM2]).name == TINY_SAM2.name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (PAGE, "it is an HTML page, which a server sent in place of the weights; delete it to download it again"),
        (
            b"PK\x03\x04" + bytes(96),
            "it is cut off: it has 100 bytes, and the end of its archive is missing; delete it",
        ),
        (b"weights of HQ-SAM", "it is sam_hq_vit_tiny.pth, the file of sam_hq_tiny; rename it, or delete it"),
    ],
)
def test_weights_verify_says_what_a_file_with_another_hash_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: bytes, message: str
) -> None:
    (tmp_path / "mobile_sam.pt").write_bytes(content)
    (tmp_path / "hq").write_bytes(b"weights of HQ-SAM")
    monkeypatch.setenv("SAM_WEIGHTS_DIR", str(tmp_path))
    name_a_file_by_its_hash(monkeypatch, "sam_hq_tiny", tmp_path / "hq")

    status = main(["weights", "verify", "mobile_sam"])

    said = capsys.readouterr().err
    assert status == 1
    assert f"mobile_sam.pt is not the file of mobile_sam: {message}" in said


def name_a_file_by_its_hash(monkeypatch: pytest.MonkeyPatch, model: str, file: Path) -> None:
    """Put the hash of a file into the catalogue."""
    from sam_model.weights import store

    weights = find_weights(model)
    changed = replace(weights, sha256=store.sha256_of(file))
    monkeypatch.setattr(store, "CATALOG", tuple(changed if each is weights else each for each in CATALOG))


def test_a_download_of_something_else_is_named(tmp_path: Path) -> None:
    from sam_testing.web_server import Answer, serving

    weights = replace(find_weights("mobile_sam"), size=len(PAGE))
    with (
        serving(lambda _: Answer(PAGE)) as server,
        pytest.raises(BrokenWeightsError, match=r"is not mobile_sam\.pt: it is an HTML page"),
    ):
        WeightStore(tmp_path, mirror=server.url).fetch(weights)

    assert not (tmp_path / "mobile_sam.pt").exists()
