"""Embeddings in a folder: found again by picture and model, bounded, and never a wrong one."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sam_backend.embedding_files import EmbeddingFiles
from sam_model.sam.embedding_bytes import embedding_from_bytes, embedding_to_bytes
from sam_model.sam.segmenter import SamEmbedding
from sam_testing.backend_program import BackendProgram
from sam_testing.disc_segmenter import DiscSegmenter
from sam_testing.label_studio import key_point, predict_request
from sam_testing.seeded_checkpoints import write_seeded_checkpoint
from sam_testing.service import picture
from sam_testing.web_server import Answer, serving

MIB = 1 << 20


def embedding(seed: int = 0, fingerprint: str = "sam", dtype: torch.dtype = torch.float32) -> SamEmbedding:
    features = torch.randn((1, 256, 64, 64), generator=torch.Generator().manual_seed(seed)).to(dtype)
    return SamEmbedding(features, (427, 640), (683, 1024), fingerprint)


def turned(png: bytes) -> bytes:
    file = io.BytesIO()
    Image.open(io.BytesIO(png)).rotate(180).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_an_embedding_comes_back_bit_for_bit(dtype: torch.dtype) -> None:
    before = embedding(dtype=dtype)

    after = embedding_from_bytes(embedding_to_bytes(before), "sam")

    assert torch.equal(after.features, before.features)
    assert after.features.dtype == dtype
    assert (after.image_size, after.input_size, after.fingerprint) == ((427, 640), (683, 1024), "sam")


def test_bytes_that_changed_and_embeddings_of_another_model_are_refused() -> None:
    data = embedding_to_bytes(embedding())

    for broken in (data[:-1], data[:-1] + b"\x00", data[:20], b"", b"{}\n", b"[]\n", b"null\n"):
        with pytest.raises(ValueError, match="embedding"):
            embedding_from_bytes(broken, "sam")
    with pytest.raises(ValueError, match="needed: another"):
        embedding_from_bytes(data, "another")


def test_it_is_found_by_the_picture_and_the_model_only(tmp_path: Path) -> None:
    EmbeddingFiles(tmp_path, 100 * MIB).write(b"a picture", embedding())
    later = EmbeddingFiles(tmp_path, 100 * MIB)

    found = later.read(b"a picture", "sam")

    assert isinstance(found, SamEmbedding)
    assert torch.equal(found.features, embedding().features)
    assert later.read(b"another picture", "sam") is None
    assert later.read(b"a picture", "another model") is None


def test_the_files_used_longest_ago_make_room(tmp_path: Path) -> None:
    files = EmbeddingFiles(tmp_path, 21 * MIB)  # five of 4 MiB
    for number in range(5):
        files.write(bytes([number]), embedding(number))
        os.utime(max(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns), (number, number))
    assert files.read(bytes([0]), "sam") is not None  # used now

    files.write(bytes([5]), embedding(5))

    kept = [number for number in range(6) if files.read(bytes([number]), "sam") is not None]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 21 * MIB
    assert {0, 5} <= set(kept)
    assert 1 not in kept


def test_a_broken_file_is_removed_and_a_full_or_shut_folder_is_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = EmbeddingFiles(tmp_path, 100 * MIB)
    files.write(b"a picture", embedding())
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-5])

    assert files.read(b"a picture", "sam") is None
    assert list(tmp_path.iterdir()) == []
    EmbeddingFiles(Path("/proc/nowhere"), 100 * MIB).write(b"a picture", embedding())
    assert "cannot be kept in SAM_EMBEDDINGS_DIR" in caplog.text


def test_what_other_models_saw_is_not_kept(tmp_path: Path) -> None:
    seen = DiscSegmenter().embed(np.zeros((20, 40, 3), np.uint8))

    EmbeddingFiles(tmp_path, 100 * MIB).write(b"a picture", seen)

    assert list(tmp_path.iterdir()) == []


def test_after_a_restart_the_same_picture_is_not_embedded_again_and_another_at_its_address_is(tmp_path: Path) -> None:
    weights = write_seeded_checkpoint(tmp_path / "seeded.pt")
    shown = [picture(40, 20)]
    with serving(lambda asked: Answer(shown[0])) as pictures:
        settings = {"SAM_MODEL": str(weights), "SAM_ALLOW_PRIVATE_ADDRESSES": "true"}
        program = BackendProgram(
            tmp_path / "log",
            SAM_RUNS_DIR=str(tmp_path / "runs"),
            SAM_EMBEDDINGS_DIR=str(tmp_path / "embeddings"),
            **settings,
        )
        click = predict_request([key_point(50, 50)], data={"image": f"{pictures.url}/a.png"})
        try:
            first = program.ask("/predict", click)
            program.stop()
            program.start()
            second = program.ask("/predict", click)
            program.stop()
            shown[0] = turned(picture(40, 20))
            program.start()
            program.ask("/predict", click)
        finally:
            program.stop()

    assert first[0] == 200, first
    assert second == first
    assert program.log.count("its embedding was kept") == 1
    assert program.log.count("embed ") == 2
    assert len(list((tmp_path / "embeddings").iterdir())) == 2
