"""Readers of untrusted files and values: damaged input gives the documented error, and nothing else."""

import io
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from fuzz.mutations import XML_PIECES
from sam_backend.errors import LabelingConfigError
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.protocol.labeling_config import LabelingConfig
from sam_backend.runs.run_store import RunStore
from sam_backend.shapes.brush_rle import decode_mask, encode_mask
from sam_backend.shapes.targets import PromptTags, click_target
from sam_model.sam.embedding_bytes import embedding_from_bytes, embedding_to_bytes
from sam_model.sam.segmenter import SamEmbedding
from sam_model.weights.errors import BrokenWeightsError
from sam_model.weights.loading import read_checkpoint
from sam_model.yolo.checkpoint import load_yolo
from sam_testing.label_studio import BRUSH_CONFIG, PAGES_CONFIG, PALETTE_CONFIG
from sam_testing.yolo_files import write_yolo_file

# files of a test's own folder are written anew by each example
ANEW = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
IMAGE = "0" * 64  # the SHA-256 of an image's file
EDIT = st.tuples(
    st.sampled_from(("flip", "cut", "insert", "double", "zero", "end")),
    st.floats(0, 1),
    st.integers(0, 64),
    st.binary(),
)
PIECES = (
    b"\xff" * 8,
    b"\x00" * 8,
    b"\x7f\xff\xff\xff\xff\xff\xff\xff",
    b"[" * 3000,
    b"{",
    b'"',
    b".",
    b"\x80\x02",
    b"c",
)


def edited(data: bytes, edits: list[tuple[str, float, int, bytes]]) -> bytes:
    """Damage `data`: each edit has a kind, a place from 0 to 1, a length and bytes of its own."""
    for kind, where, length, more in edits:
        at = int(where * len(data))
        end = at + length
        match kind:
            case "flip" if at < len(data):
                data = data[:at] + bytes([data[at] ^ 1 << length % 8]) + data[at + 1 :]
            case "cut":
                data = data[:at] + data[end:]
            case "insert":
                data = data[:at] + (more or PIECES[length % len(PIECES)]) + data[at:]
            case "double":
                data = data[:end] + data[at:]
            case "zero":
                data = data[:at] + bytes(length) + data[end:]
            case "end":
                data = data[:at]
    return data


EDITS = st.lists(EDIT, min_size=1, max_size=4)


def brush_rle(mask_seed: int) -> bytes:
    return bytes(encode_mask(np.random.default_rng(mask_seed).random((13, 21)) < 0.3))


@settings(deadline=None)
@given(st.integers(0, 5), EDITS)
def test_a_damaged_rle_is_a_mask_of_the_right_size_or_an_error(mask_seed: int, edits: Any) -> None:
    rle = edited(brush_rle(mask_seed), edits)

    for given_rle in (list(rle), np.frombuffer(rle, np.uint8)):
        try:
            mask = decode_mask(given_rle, 13, 21)
        except ValueError:
            continue
        assert mask.shape == (13, 21)
        assert mask.dtype == np.bool_


@settings(deadline=None)
@given(st.binary(max_size=4000), st.integers(-1, 40), st.integers(-1, 40))
def test_any_bytes_as_rle_are_a_mask_or_an_error(rest: bytes, height: int, width: int) -> None:
    count = max(0, height * width * 4)
    rle = count.to_bytes(4, "big") + rest

    try:
        mask = decode_mask(list(rle), height, width)
    except ValueError:
        return
    assert mask.shape == (height, width)


@settings(deadline=None)
@given(st.lists(st.one_of(st.integers(), st.floats(), st.none(), st.text(max_size=3), st.booleans()), max_size=20))
def test_any_values_as_rle_are_an_error(values: list[Any]) -> None:
    with pytest.raises(ValueError, match="rle"):
        decode_mask(values, 3, 5)


@settings(deadline=None)
@given(
    st.sampled_from((BRUSH_CONFIG, PALETTE_CONFIG, PAGES_CONFIG)),
    st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 40), st.one_of(st.sampled_from(XML_PIECES), st.text(max_size=8))),
        min_size=1,
        max_size=6,
    ),
)
def test_a_damaged_labeling_config_is_read_or_refused(config: str, edits: list[tuple[float, int, str]]) -> None:
    for where, length, piece in edits:
        at = int(where * len(config))
        config = config[:at] + piece + config[at + length :]

    try:
        found = LabelingConfig.from_xml(config)
        for image in found.images or (found.image(),):
            click_target(found, image.name, PromptTags())
    except LabelingConfigError as error:
        refusal = str(error)
    else:
        refusal = ""
    assert len(refusal) < 2000


def torch_zip() -> bytes:
    file = io.BytesIO()
    torch.save({"one.weight": torch.arange(6.0).reshape(2, 3), "two": torch.ones(4, dtype=torch.float16)}, file)
    return file.getvalue()


def torch_legacy() -> bytes:
    file = io.BytesIO()
    torch.save({"one.weight": torch.arange(6.0)}, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def safetensors_file() -> bytes:
    return save({"one.weight": torch.arange(6.0).reshape(2, 3), "two": torch.ones(4)})


CHECKPOINTS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "zip": ("a.pt", torch_zip),
    "legacy": ("a.pth", torch_legacy),
    "safetensors": ("a.safetensors", safetensors_file),
}


@pytest.mark.filterwarnings("ignore")  # torch warns of what it finds in damaged files
@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_a_damaged_checkpoint_is_read_or_refused(kind: str, tmp_path: Path) -> None:
    name, made = CHECKPOINTS[kind]
    data, path = made(), tmp_path / name

    @ANEW
    @given(EDITS)
    def check(edits: Any) -> None:
        path.write_bytes(edited(data, edits))
        try:
            state = read_checkpoint(path)
        except BrokenWeightsError:
            return
        assert all(isinstance(tensor, torch.Tensor) for tensor in state.values())

    check()


@pytest.mark.parametrize("is_legacy", [False, True])
def test_a_damaged_yolo_file_is_read_or_refused(is_legacy: bool, tmp_path: Path) -> None:
    path = write_yolo_file(tmp_path / "tiny.pt", is_legacy=is_legacy)
    data = path.read_bytes()

    @settings(ANEW, max_examples=min(settings().max_examples, 2000))
    @given(EDITS)
    def check(edits: Any) -> None:
        path.write_bytes(edited(data, edits))
        try:
            load_yolo(path)
        except BrokenWeightsError:
            return

    check()


def test_a_damaged_embedding_is_refused() -> None:
    features = torch.randn((1, 256, 64, 64), generator=torch.Generator().manual_seed(1)).half()
    data = embedding_to_bytes(SamEmbedding(features, (427, 640), (683, 1024), "sam"), IMAGE)
    header = 600  # bytes at the front, where most of the damage is done

    @settings(ANEW, max_examples=min(settings().max_examples, 2000))
    @given(EDITS, st.booleans())
    def check(edits: Any, is_at_front: bool) -> None:
        damaged = edited(data[:header], edits) + data[header:] if is_at_front else edited(data, edits)
        if damaged == data:
            return
        with pytest.raises(ValueError, match=r"."):
            embedding_from_bytes(damaged, IMAGE, "sam")

    check()


def test_a_damaged_ledger_stops_no_other_run(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    good, damaged = store.create(RunConfiguration(1)), store.create(RunConfiguration(2))
    damaged.ledger.list_tasks([1, 2, 3], last_listed=3, is_listed=True)
    (path,) = [path for path in tmp_path.glob("*.sqlite3") if path.stem.startswith(damaged.id)]
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    data = path.read_bytes()

    @settings(ANEW, max_examples=min(settings().max_examples, 2000))
    @given(EDITS, st.booleans())
    def check(edits: Any, is_at_front: bool) -> None:
        path.write_bytes(edited(data[:100], edits) + data[100:] if is_at_front else edited(data, edits))
        states = [run.progress().state for run in RunStore(tmp_path).runs()]
        assert 1 <= len(states) <= 2
        assert "queued" in states

    check()
    assert good.progress().state == "queued"
