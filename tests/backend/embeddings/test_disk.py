"""Embeddings in a folder: found again by picture and model, bounded, and never a wrong one."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from hypothesis import given, strategies
from PIL import Image

from sam_backend.diagnostics.health_monitor import check_embeddings
from sam_backend.embeddings.disk import EmbeddingFolder
from sam_model.sam.embedding_bytes import MAGIC, embedding_from_bytes, embedding_to_bytes
from sam_model.sam.segmenter import SamEmbedding
from sam_testing.backend_program import BackendProgram
from sam_testing.disc_segmenter import DiscSegmenter
from sam_testing.label_studio import key_point, predict_request
from sam_testing.seeded_checkpoints import write_seeded_checkpoint
from sam_testing.service import png_image
from sam_testing.web_server import Answer, serving

MIB = 1 << 20


def embedding(seed: int = 0, fingerprint: str = "sam", dtype: torch.dtype = torch.float32) -> SamEmbedding:
    features = torch.randn((1, 256, 64, 64), generator=torch.Generator().manual_seed(seed)).to(dtype)
    return SamEmbedding(features, (427, 640), (683, 1024), fingerprint)


IMAGE = hashlib.sha256(b"an image").hexdigest()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def numbered(number: int) -> str:
    return f"{number:064x}"


def small_embedding() -> SamEmbedding:
    return SamEmbedding(torch.arange(64.0).reshape(1, 4, 4, 4), (427, 640), (683, 1024), "sam")


def kept_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.embedding"))


def turned(png: bytes) -> bytes:
    file = io.BytesIO()
    Image.open(io.BytesIO(png)).rotate(180).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_an_embedding_comes_back_bit_for_bit(dtype: torch.dtype) -> None:
    before = embedding(dtype=dtype)

    after = embedding_from_bytes(embedding_to_bytes(before, IMAGE), IMAGE, "sam")

    assert torch.equal(after.features, before.features)
    assert after.features.dtype == dtype
    assert (after.image_size, after.input_size, after.fingerprint) == ((427, 640), (683, 1024), "sam")


def test_further_maps_of_other_shapes_come_back(tmp_path: Path) -> None:
    details = torch.arange(24.0).reshape(1, 6, 4), torch.arange(8.0).reshape(1, 2, 2, 1, 2)
    files = EmbeddingFolder(tmp_path, MIB)

    files.write(IMAGE, replace(small_embedding(), details=details))
    after = files.read(IMAGE, "sam")

    assert isinstance(after, SamEmbedding)
    assert torch.equal(after.features, small_embedding().features)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(after.details, details, strict=True))
    assert after.nbytes == 4 * (64 + 24 + 8)


def test_the_embedding_of_another_image_or_model_is_refused() -> None:
    data = embedding_to_bytes(embedding(), IMAGE)

    with pytest.raises(ValueError, match=r"needed: .* by another"):
        embedding_from_bytes(data, IMAGE, "another")
    with pytest.raises(ValueError, match="needed: 0000"):
        embedding_from_bytes(data, "0" * 64, "sam")


def test_one_flipped_bit_anywhere_is_seen() -> None:
    data = embedding_to_bytes(small_embedding(), IMAGE)

    for position in range(len(data)):
        broken = bytearray(data)
        broken[position] ^= 1 << position % 8
        with pytest.raises(ValueError, match="embedding"):
            embedding_from_bytes(bytes(broken), IMAGE, "sam")


def test_a_file_that_was_cut_is_refused() -> None:
    data = embedding_to_bytes(small_embedding(), IMAGE)

    for length in range(len(data)):
        with pytest.raises(ValueError, match="embedding"):
            embedding_from_bytes(data[:length], IMAGE, "sam")


def sealed(header: bytes, body: bytes = b"", length: int | None = None) -> bytes:
    """A file with a checksum that is right, whatever it holds."""
    content = MAGIC + (len(header) if length is None else length).to_bytes(4, "big") + header + body
    return content + hashlib.sha256(content).digest()


FIELDS = {
    "image": IMAGE,
    "fingerprint": "sam",
    "dtype": "float32",
    "shapes": [[1, 1, 2, 2]],
    "image_size": [20, 40],
    "input_size": [512, 1024],
}


@pytest.mark.parametrize(
    "data",
    [
        sealed(b"[" * 4096),
        sealed(b"{" * 5000),
        sealed(b"{}"),
        sealed(b"null"),
        sealed(b"\xff"),
        sealed(b"", length=2**32 - 1),
        *(
            sealed(json.dumps(FIELDS | changed).encode(), bytes(16))
            for changed in (
                {"shapes": [[1, 1, 2, 3]]},
                {"shapes": [[1, 1, 2]]},
                {"shapes": [[-1, -1, 2, 2]]},
                {"shapes": [[1, 1, 2.0, 2]]},
                {"shapes": [[True, 1, 2, 2]]},
                {"shapes": [[2**20] * 4]},
                {"shapes": [[1, 1, 2, 2], [1]]},
                {"shapes": []},
                {"shapes": [[]]},
                {"shapes": [1, 1, 2, 2]},
                {"shapes": [[1]] * 9},
                {"dtype": "complex64"},
                {"dtype": ["float32"]},
                {"image_size": [0, 40]},
                {"image_size": [2**40, 40]},
                {"input_size": None},
                {"image": None},
                {"more": 1},
            )
        ),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="embedding"):
        embedding_from_bytes(data, IMAGE, "sam")


@given(strategies.binary(max_size=300), strategies.binary(max_size=50))
def test_no_bytes_do_anything_but_raise_a_value_error(header: bytes, body: bytes) -> None:
    for data in (header, MAGIC + header, sealed(header, body)):
        with pytest.raises(ValueError, match="embedding"):
            embedding_from_bytes(data, IMAGE, "sam")


def test_it_is_found_by_the_image_and_the_model_only(tmp_path: Path) -> None:
    EmbeddingFolder(tmp_path, 100 * MIB).write(IMAGE, embedding())
    later = EmbeddingFolder(tmp_path, 100 * MIB)

    found = later.read(IMAGE, "sam")

    assert isinstance(found, SamEmbedding)
    assert torch.equal(found.features, embedding().features)
    assert later.read(digest(b"another"), "sam") is None
    assert later.read(IMAGE, "another model") is None


def test_a_file_under_another_images_name_is_removed(tmp_path: Path) -> None:
    files = EmbeddingFolder(tmp_path, 100 * MIB)
    files.write(IMAGE, embedding())
    (path,) = kept_in(tmp_path)
    other = digest(b"another")
    path.rename(path.with_name(path.name.replace(IMAGE, other)))

    assert files.read(other, "sam") is None
    assert kept_in(tmp_path) == []


def test_the_files_used_longest_ago_make_room(tmp_path: Path) -> None:
    files = EmbeddingFolder(tmp_path, 21 * MIB)  # five of 4 MiB
    for number in range(5):
        files.write(numbered(number), embedding(number))
        os.utime(max(kept_in(tmp_path), key=lambda path: path.stat().st_mtime_ns), (number, number))
    assert files.read(numbered(0), "sam") is not None  # used now

    files.write(numbered(5), embedding(5))

    kept = [number for number in range(6) if files.read(numbered(number), "sam") is not None]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 21 * MIB
    assert {0, 5} <= set(kept)
    assert 1 not in kept


WRITER = """
import sys
from pathlib import Path
import torch
from sam_backend.embeddings.disk import EmbeddingFolder
from sam_model.sam.segmenter import SamEmbedding
files = EmbeddingFolder(Path(sys.argv[1]), int(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
for number in range(100):
    image = f"{int(sys.argv[3]) * 1000 + number:064x}"
    files.write(image, SamEmbedding(torch.zeros(1, 4, 64, 64), (20, 40), (512, 1024), "sam"))
"""


def test_processes_that_share_the_folder_keep_the_budget_together_at_every_moment(tmp_path: Path) -> None:
    budget = 1_000_000  # fifteen files
    command = [sys.executable, "-c", WRITER, str(tmp_path), str(budget)]
    largest = 0
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                subprocess.Popen([*command, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for number in range(2)
        ]
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        while any(writer.poll() is None for writer in writers):
            largest = max(largest, held_in(tmp_path))

    assert [writer.returncode for writer in writers] == [0, 0]
    assert 0.5 * budget < largest <= budget
    assert 0.5 * budget < held_in(tmp_path) <= budget


def held_in(folder: Path) -> int:
    held = 0
    for entry in os.scandir(folder):
        with suppress(FileNotFoundError):
            held += entry.stat().st_size
    return held


def test_what_a_killed_process_left_unfinished_is_removed(tmp_path: Path) -> None:
    unfinished = tmp_path / "0123.part"
    unfinished.write_bytes(bytes(MIB))

    EmbeddingFolder(tmp_path, 100 * MIB).write(IMAGE, embedding())

    assert not unfinished.exists()


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)


def become_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def become_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def grow(path: Path) -> None:
    os.truncate(path, 100 * MIB)


@pytest.mark.parametrize("damage", [flip_a_bit, become_a_folder, become_a_pipe, grow])
def test_a_damaged_file_is_no_answer_and_no_error(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    files = EmbeddingFolder(tmp_path, 300 * MIB)
    files.write(IMAGE, embedding())
    (path,) = kept_in(tmp_path)
    damage(path)

    assert files.read(IMAGE, "sam") is None
    files.write(IMAGE, embedding())
    if damage in (flip_a_bit, grow):
        assert files.read(IMAGE, "sam") is not None


def test_a_folder_that_becomes_a_file_is_told_once_and_again_when_it_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    folder = tmp_path / "embeddings"
    files = EmbeddingFolder(folder, 100 * MIB)
    files.write(IMAGE, embedding())
    shutil.rmtree(folder)
    folder.write_bytes(b"a file")

    for _ in range(3):
        assert files.read(IMAGE, "sam") is None
        files.write(IMAGE, embedding())
    told = caplog.text.count("could not store an embedding in SAM_EMBEDDINGS_DIR: ")
    folder.unlink()
    files.write(IMAGE, embedding())

    assert told == 1
    assert "embeddings are stored in SAM_EMBEDDINGS_DIR again" in caplog.text
    assert files.read(IMAGE, "sam") is not None


def test_a_folder_on_a_system_that_is_read_only_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    files = EmbeddingFolder(Path("/proc/embeddings"), 100 * MIB)

    for _ in range(3):
        files.write(IMAGE, embedding())

    assert caplog.text.count("could not store an embedding") == 1


def test_a_lock_that_another_process_holds_for_long_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sam_backend.embeddings.disk.LOCK_WAIT_S", 0.05)

    with FileLock(tmp_path / "lock"):
        EmbeddingFolder(tmp_path, 100 * MIB).write(IMAGE, embedding())

    assert "another process holds the folder's lock" in caplog.text
    assert kept_in(tmp_path) == []


def test_what_other_models_saw_is_not_kept(tmp_path: Path) -> None:
    seen = DiscSegmenter().embed(np.zeros((20, 40, 3), np.uint8))

    EmbeddingFolder(tmp_path, 100 * MIB).write(IMAGE, seen)

    assert list(tmp_path.iterdir()) == []


def test_the_status_says_that_the_folder_cannot_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "embeddings"
    assert check_embeddings(folder).ok
    folder.rmdir()
    folder.write_bytes(b"a file")

    found = check_embeddings(folder)

    assert not found.ok
    assert "SAM_EMBEDDINGS_DIR is not writable" in found.problem


def test_after_a_restart_the_same_picture_is_not_embedded_again_and_another_at_its_address_is(tmp_path: Path) -> None:
    weights = write_seeded_checkpoint(tmp_path / "seeded.pt")
    shown = [png_image(40, 20)]
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
            flip_a_bit(kept_in(tmp_path / "embeddings")[0])  # in the header
            program.start()
            third = program.ask("/predict", click)
            program.stop()
            shown[0] = turned(png_image(40, 20))
            program.start()
            program.ask("/predict", click)
        finally:
            program.stop()

    assert first[0] == 200, first
    assert second == third == first
    assert program.log.count("embedding read from SAM_EMBEDDINGS_DIR") == 1
    assert program.log.count("the checksum differs") == 1
    assert program.log.count(", embed ") == 3
    assert len(kept_in(tmp_path / "embeddings")) == 2


def test_a_write_does_not_count_all_files_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, counted = EmbeddingFolder(tmp_path, MIB), []
    monkeypatch.setattr(files, "_files", lambda: counted.append(1) or [])

    for number in range(20):
        files.write(numbered(number), small_embedding())

    assert counted == [1]


@pytest.mark.parametrize("noted", ["", "12", "1\n2", "many\n", "-5\n"])
def test_a_noted_size_that_is_broken_is_counted_again(tmp_path: Path, noted: str) -> None:
    size = len(embedding_to_bytes(small_embedding(), IMAGE))
    files = EmbeddingFolder(tmp_path, 4 * size)

    for number in range(12):
        files.write(numbered(number), small_embedding())
        (tmp_path / "bytes_held").write_text(noted)

    assert len(kept_in(tmp_path)) <= 4
    assert tmp_path / f"{numbered(11)}" in [path.with_name(path.name[:64]) for path in kept_in(tmp_path)]


def test_what_another_process_stored_before_is_counted(tmp_path: Path) -> None:
    size = len(embedding_to_bytes(small_embedding(), IMAGE))
    for number in range(3):
        EmbeddingFolder(tmp_path, 4 * size).write(numbered(number), small_embedding())
    (tmp_path / "bytes_held").write_text("0\n")

    for number in range(3, 6):
        EmbeddingFolder(tmp_path, 4 * size).write(numbered(number), small_embedding())

    assert len(kept_in(tmp_path)) <= 4
