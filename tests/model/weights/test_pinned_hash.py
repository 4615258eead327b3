"""Weights of which no hash is on record: the first download's holds from then on, and a person can pin one."""

import hashlib
import logging
from pathlib import Path

import pytest

from sam_model.weights.catalog import WeightFile
from sam_model.weights.download import content_length
from sam_model.weights.errors import BrokenWeightsError, WeightsUnavailableError
from sam_model.weights.store import Presence, WeightStore
from sam_testing.web_server import Answer, serving

CONTENT = b"0123456789" * 5_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def unrecorded(url: str) -> WeightFile:
    return WeightFile("tiny_yolo", "tiny.pt", f"{url}/tiny.pt", "", 0, "AGPL-3.0", role="detector")


def test_the_first_download_s_hash_is_noted_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(lambda asked: Answer(CONTENT)) as server, caplog.at_level(logging.WARNING):
        path = WeightStore(tmp_path).fetch(unrecorded(server.url))

    assert path.read_bytes() == CONTENT
    assert (tmp_path / "tiny.pt.sha256").read_text() == f"{SHA256}  tiny.pt\n"
    before, after = caplog.messages[-2:]
    assert "tiny.pt is licensed under AGPL-3.0" in caplog.text
    assert before == "no hash of tiny.pt is recorded: the download cannot be compared with one"
    assert after.startswith("no hash of tiny.pt is recorded: the hash of this file, ")
    assert (
        f"no hash of tiny.pt is recorded: the hash of this file, {SHA256}, is stored in tiny.pt.sha256" in caplog.text
    )
    assert WeightStore(tmp_path).status(unrecorded(server.url)).presence is Presence.PRESENT


def test_from_then_on_other_bytes_are_refused(tmp_path: Path) -> None:
    store = WeightStore(tmp_path)
    with serving(lambda asked: Answer(CONTENT)) as server:
        weights = unrecorded(server.url)
        store.fetch(weights)
    (tmp_path / "tiny.pt").write_bytes(b"x" + CONTENT[1:])

    with pytest.raises(BrokenWeightsError, match=rf"needed: {SHA256}, as tiny.pt.sha256 says"):
        store.fetch(weights)


def test_a_hash_pinned_by_a_person_holds_for_the_first_download(tmp_path: Path) -> None:
    (tmp_path / "tiny.pt.sha256").write_text("0" * 64)
    with serving(lambda asked: Answer(CONTENT)) as server, pytest.raises(BrokenWeightsError, match="is not tiny"):
        WeightStore(tmp_path).fetch(unrecorded(server.url))

    assert not (tmp_path / "tiny.pt").exists()


def test_a_pin_that_is_no_hash_is_named(tmp_path: Path) -> None:
    (tmp_path / "tiny.pt.sha256").write_text("yes, please")
    (tmp_path / "tiny.pt").write_bytes(CONTENT)

    with pytest.raises(BrokenWeightsError, match=r"tiny\.pt\.sha256 does not hold a SHA-256"):
        WeightStore(tmp_path).fetch(unrecorded("http://127.0.0.1:9"))


def test_a_file_brought_by_hand_is_noted_as_well(tmp_path: Path) -> None:
    (tmp_path / "tiny.pt").write_bytes(CONTENT)

    WeightStore(tmp_path, is_offline=True).fetch(unrecorded("http://127.0.0.1:9"))

    assert (tmp_path / "tiny.pt.sha256").read_text().startswith(SHA256)


@pytest.mark.parametrize("answer", [Answer(b"", 404), Answer([b"no length"]), Answer(b"")])
def test_a_server_that_does_not_say_how_large_the_file_is_is_named(answer: Answer) -> None:
    with (
        serving(lambda asked: answer) as server,
        pytest.raises(WeightsUnavailableError, match="could not get the size"),
    ):
        content_length(f"{server.url}/tiny.pt")


def test_how_to_bring_a_file_tells_only_what_is_known() -> None:
    words = WeightStore(Path("/weights")).how_to_get(unrecorded("http://127.0.0.1:9"))

    assert "download http://127.0.0.1:9/tiny.pt into the folder SAM_WEIGHTS_DIR" in words
    assert "/weights" not in words, "the words go to callers, too"
    assert "--detector classical" in words
