import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sam_model.weights.catalog import CATALOG, WeightFile, find_weights
from sam_model.weights.errors import BrokenWeightsError, WeightsUnavailableError
from sam_model.weights.store import Presence, WeightStore, shown_path, store_from_env
from sam_testing.web_server import Answer, Asked, serving

CONTENT = b"0123456789" * 5_000


def weights_at(url: str, content: bytes = CONTENT) -> WeightFile:
    sha256 = hashlib.sha256(content).hexdigest()
    return WeightFile("tiny_sam", "tiny_sam.pt", f"{url}/official/tiny_sam.pt", sha256, len(content), "Apache-2.0")


NOWHERE = weights_at("http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("sam_b", "sam_vit_b_01ec64.pth"),
        ("sam_b.pt", "sam_vit_b_01ec64.pth"),
        ("sam_vit_b_01ec64.pth", "sam_vit_b_01ec64.pth"),
        ("sam_l.pt", "sam_vit_l_0b3195.pth"),
        ("sam_h", "sam_vit_h_4b8939.pth"),
        ("mobile_sam.pt", "mobile_sam.pt"),
        ("mobile_sam", "mobile_sam.pt"),
    ],
)
def test_weights_are_found_by_all_their_names(name: str, file: str) -> None:
    assert find_weights(name).file == file


def test_unknown_weights_are_named_with_those_there_are() -> None:
    with pytest.raises(
        ValueError, match=r"unknown weights 'sam_x'; known: mobile_sam, sam_b, sam_l, sam_h, sam2.1_hiera_tiny"
    ):
        find_weights("sam_x")


def test_no_name_in_the_catalogue_means_two_files() -> None:
    names = [name for weights in CATALOG for name in set(weights.names)]

    assert len(names) == len(set(names))
    assert all(len(weights.sha256) == 64 for weights in CATALOG)
    assert len({weights.sha256 for weights in CATALOG}) == len(CATALOG)


def test_ultralytics_weights_say_that_they_are_under_the_agpl() -> None:
    for weights in CATALOG:
        is_theirs = "ultralytics" in weights.url
        assert (weights.licence == "AGPL-3.0") is is_theirs


def test_weights_that_are_missing_are_fetched_and_noted(tmp_path: Path) -> None:
    store = WeightStore(tmp_path / "not" / "made yet")
    with serving(lambda asked: Answer(CONTENT)) as server:
        weights = weights_at(server.url)
        assert store.status(weights).presence is Presence.MISSING

        path = store.fetch(weights)
        again = store.fetch(weights)

    assert path == again == store.path(weights)
    assert path.read_bytes() == CONTENT
    assert server.paths == ["/official/tiny_sam.pt"]
    assert store.status(weights).presence is Presence.PRESENT
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "tiny_sam.pt", "tiny_sam.pt.lock", "tiny_sam.pt.verified"
    ]  # fmt: skip


def test_a_mirror_is_asked_in_place_of_the_official_address(tmp_path: Path) -> None:
    with serving(lambda asked: Answer(CONTENT)) as server:
        WeightStore(tmp_path, mirror=f"{server.url}/mirror/").fetch(NOWHERE)

    assert server.paths == ["/mirror/tiny_sam.pt"]


def test_offline_nothing_is_asked_and_the_way_out_is_said(tmp_path: Path) -> None:
    with serving(lambda asked: Answer(CONTENT)) as server:
        weights = weights_at(server.url)
        with pytest.raises(WeightsUnavailableError) as raised:
            WeightStore(tmp_path, is_offline=True).fetch(weights)

    assert server.paths == []
    for said in ("SAM_OFFLINE", "tiny_sam.pt", weights.url, weights.sha256, "SAM_WEIGHTS_DIR", "SAM_MODEL=classical"):
        assert said in str(raised.value)


def test_offline_what_is_here_is_enough(tmp_path: Path) -> None:
    (tmp_path / "tiny_sam.pt").write_bytes(CONTENT)

    assert WeightStore(tmp_path, is_offline=True).fetch(NOWHERE) == tmp_path / "tiny_sam.pt"


def test_without_a_network_the_way_out_is_said(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailableError) as raised:
        WeightStore(tmp_path).fetch(NOWHERE)

    for said in (NOWHERE.url, NOWHERE.sha256, "could not download", "SAM_WEIGHTS_DIR", "SAM_MODEL=classical"):
        assert said in str(raised.value)


def test_a_server_s_other_file_is_not_kept(tmp_path: Path) -> None:
    store = WeightStore(tmp_path)
    with serving(lambda asked: Answer(CONTENT[::-1])) as server:
        weights = weights_at(server.url)
        with pytest.raises(BrokenWeightsError, match=f"needed: {weights.sha256}"):
            store.fetch(weights)

    assert store.status(weights).presence is Presence.MISSING


def test_a_file_with_other_bytes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tiny_sam.pt").write_bytes(CONTENT[:-1] + b"!")

    with pytest.raises(BrokenWeightsError) as raised:
        WeightStore(tmp_path).fetch(NOWHERE)

    assert "tiny_sam.pt is not the file of tiny_sam: it " in str(raised.value)
    assert NOWHERE.sha256 in str(raised.value)
    assert str(tmp_path) not in str(raised.value)


def test_a_file_that_changes_after_it_was_verified_is_read_again(tmp_path: Path) -> None:
    store = WeightStore(tmp_path)
    path = tmp_path / "tiny_sam.pt"
    path.write_bytes(CONTENT)
    store.fetch(NOWHERE)

    path.write_bytes(CONTENT[::-1])
    os.utime(path, ns=(1, 1))  # another time, the same size

    with pytest.raises(BrokenWeightsError):
        store.fetch(NOWHERE)


def test_verify_reads_the_file_whatever_was_noted(tmp_path: Path) -> None:
    store = WeightStore(tmp_path)
    path = tmp_path / "tiny_sam.pt"
    path.write_bytes(CONTENT[::-1])
    stat = path.stat()
    note = {"sha256": NOWHERE.sha256, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    (tmp_path / "tiny_sam.pt.verified").write_text(json.dumps(note))

    assert store.fetch(NOWHERE) == path  # a note is believed when loading
    with pytest.raises(BrokenWeightsError):
        store.verify(NOWHERE)


def test_a_broken_note_is_no_note(tmp_path: Path) -> None:
    (tmp_path / "tiny_sam.pt").write_bytes(CONTENT)
    (tmp_path / "tiny_sam.pt.verified").write_text("{")

    assert WeightStore(tmp_path).fetch(NOWHERE)


def test_verify_says_when_there_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailableError, match=r"tiny_sam\.pt is missing"):
        WeightStore(tmp_path).verify(NOWHERE)


def test_a_begun_download_and_a_cut_off_file_show(tmp_path: Path) -> None:
    store = WeightStore(tmp_path)
    (tmp_path / "tiny_sam.pt.part").write_bytes(CONTENT[:7])

    begun = store.status(NOWHERE)
    (tmp_path / "tiny_sam.pt").write_bytes(CONTENT[:9])
    cut_off = store.status(NOWHERE)

    assert (begun.presence, begun.bytes_here) == (Presence.PARTIAL, 7)
    assert (cut_off.presence, cut_off.bytes_here) == (Presence.WRONG_SIZE, 9)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    with pytest.raises(WeightsUnavailableError, match="could not create or read"):
        WeightStore(tmp_path / "file" / "folder").fetch(NOWHERE)


def test_a_disk_that_is_too_small_is_said_before(tmp_path: Path) -> None:
    weights = WeightFile("huge", "huge.pt", "http://127.0.0.1:9/huge.pt", "0" * 64, 10**18, "Apache-2.0")

    with pytest.raises(WeightsUnavailableError, match=r"no space for huge\.pt"):
        WeightStore(tmp_path).fetch(weights)


def test_several_processes_download_once(tmp_path: Path) -> None:
    def slowly(asked: Asked) -> Answer:
        time.sleep(0.5)  # long enough for all to ask
        return Answer(CONTENT)

    script = """
import sys, pathlib
from sam_model.weights.catalog import WeightFile
from sam_model.weights.store import WeightStore
url, sha256, size, folder = sys.argv[1:]
weights = WeightFile("tiny_sam", "tiny_sam.pt", url, sha256, int(size), "Apache-2.0")
print(WeightStore(pathlib.Path(folder)).fetch(weights).stat().st_size)
"""
    with serving(slowly) as server:
        weights = weights_at(server.url)
        command = [
            sys.executable, "-c", script, weights.url, weights.sha256, str(weights.size), str(tmp_path)
        ]  # fmt: skip
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
        answers = [process.communicate(timeout=60)[0] for process in processes]

    assert answers == [f"{len(CONTENT)}\n"] * 4
    assert len(server.asked) == 1


def test_the_environment_describes_the_store() -> None:
    store = store_from_env(
        {"SAM_WEIGHTS_DIR": "/srv/weights", "SAM_WEIGHTS_MIRROR": "https://mirror/sam", "SAM_OFFLINE": "1"}
    )

    assert store.directory == Path("/srv/weights")
    assert store.url(NOWHERE) == "https://mirror/sam/tiny_sam.pt"
    assert store.is_offline


def test_without_an_environment_weights_lie_in_the_cache() -> None:
    store = store_from_env({"SAM_WEIGHTS_DIR": ""})

    assert store.path(NOWHERE) == Path.home() / ".cache/label-studio-sam/tiny_sam.pt"
    assert shown_path(store.path(NOWHERE)) == "~/.cache/label-studio-sam/tiny_sam.pt"
    assert not store.is_offline


def test_a_bad_offline_switch_is_named() -> None:
    with pytest.raises(ValueError, match="SAM_OFFLINE='maybe'"):
        store_from_env({"SAM_OFFLINE": "maybe"})


def test_converted_networks_may_be_in_another_folder_than_the_weights() -> None:
    beside = store_from_env({"SAM_WEIGHTS_DIR": "/somewhere"})
    apart = store_from_env({"SAM_WEIGHTS_DIR": "/somewhere", "SAM_CONVERTED_DIR": "~/converted"})

    assert beside.converted_folder == Path("/somewhere/openvino")
    assert apart.converted_folder == Path.home() / "converted"
