"""Models that are folders of several files: download, mirror, gate, hashes of the first download."""

import logging
from pathlib import Path

import pytest

from sam_model.registry import TEXT_DETECTOR_NAMES, load_detector, load_segmenter, load_text_detector, model_folder
from sam_model.weights import folders
from sam_model.weights.catalog import CATALOG
from sam_model.weights.errors import BrokenWeightsError, WeightsError, WeightsUnavailableError
from sam_model.weights.folder_store import fetch_folder, folder_presence
from sam_model.weights.folders import FOLDERS, WeightFolder
from sam_model.weights.store import Presence, WeightStore
from sam_testing.tiny_transformers import write_tiny_owl, write_tiny_sam3_tracker
from sam_testing.web_server import Answer, Asked, WebServer, serving

GATED = WeightFolder("sam3", "facebook/sam3", "SAM License", segments=True, is_gated=True)


class FileServer:
    """Serves the files of a folder, to those with the token if there is one."""

    def __init__(self, folder: Path, token: str = "") -> None:
        self.folder, self.token = folder, token

    def __call__(self, asked: Asked) -> Answer:
        if self.token and asked.headers.get("authorization") != f"Bearer {self.token}":
            return Answer(b"", 401)
        path = self.folder / asked.path.rpartition("/")[2]
        return Answer(path.read_bytes()) if path.is_file() else Answer(b"", 404)


@pytest.fixture(scope="module")
def owl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_owl(tmp_path_factory.mktemp("served") / "owl")


def hugging_face_at(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "HUGGING_FACE", server.url)


def test_a_model_is_downloaded_by_its_name_and_then_needs_no_network(
    owl: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = WeightStore(tmp_path / "weights")
    with serving(FileServer(owl)) as server, caplog.at_level(logging.WARNING):
        hugging_face_at(server, monkeypatch)
        detector = load_text_detector("owlv2_base", "cpu", store=store)

    assert detector.name == "owlv2_base"
    assert server.paths[0].startswith("/google/owlv2-base-patch16-ensemble/resolve/main/")
    assert server.paths[-1].endswith("/model.safetensors")
    assert [one for one in caplog.messages if "hash" in one] == [
        "no hash of owlv2_base is recorded: its files cannot be compared with one; their hashes are stored beside them "
        "in FILE.sha256 and checked from then on"
    ]
    offline = WeightStore(tmp_path / "weights", is_offline=True)
    assert load_text_detector("owlv2_base", "cpu", store=offline).fingerprint == detector.fingerprint


PUBLISHED_FILES = {  # what the pages of the repositories list, without README, licence and pickled weights
    "google/owlv2-base-patch16-ensemble": (
        "added_tokens.json", "config.json", "merges.txt", "model.safetensors", "preprocessor_config.json",
        "special_tokens_map.json", "tokenizer_config.json", "vocab.json",
    ),
    "facebook/sam3": (
        "config.json", "merges.txt", "model.safetensors", "processor_config.json", "special_tokens_map.json",
        "tokenizer.json", "tokenizer_config.json", "vocab.json",
    ),
}  # fmt: skip


@pytest.mark.parametrize("repository", PUBLISHED_FILES)
def test_all_files_of_a_published_folder_are_downloaded_and_missing_optional_ones_left_out(
    repository: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = PUBLISHED_FILES[repository]
    known = next(folder for folder in FOLDERS if folder.repository == repository)

    def answer(asked: Asked) -> Answer:
        folder, _, name = asked.path.removeprefix("/").partition("/resolve/main/")
        return Answer(name.encode()) if folder == repository and name in files else Answer(b"", 404)

    with serving(answer) as server:
        hugging_face_at(server, monkeypatch)
        path = fetch_folder(WeightStore(tmp_path), known)

    assert {file.name for file in path.iterdir() if file.suffix not in (".sha256", ".verified", ".lock")} == set(files)
    assert all((path / name).read_text() == name for name in files)


def test_a_mirror_has_the_files_in_a_folder_and_gets_no_token(owl: Path, tmp_path: Path) -> None:
    with serving(FileServer(owl)) as server:
        store = WeightStore(tmp_path, mirror=f"{server.url}/files", hugging_face_token="secret")
        path = fetch_folder(store, GATED)

    assert (path / "model.safetensors").read_bytes() == (owl / "model.safetensors").read_bytes()
    assert server.paths[-1] == "/files/sam3/model.safetensors"
    assert set(server.authorizations) == {None}


def test_a_changed_file_is_refused(owl: Path, tmp_path: Path) -> None:
    with serving(FileServer(owl)) as server:
        store = WeightStore(tmp_path, mirror=server.url)
        path = fetch_folder(store, GATED)
    (path / "config.json").write_text("{}")

    with pytest.raises(BrokenWeightsError, match=r"sam3/config\.json is not .*, as sam3/config\.json\.sha256 says"):
        fetch_folder(store, GATED)


def test_offline_the_missing_file_that_is_needed_is_named(owl: Path, tmp_path: Path) -> None:
    (tmp_path / "sam3").mkdir()
    (tmp_path / "sam3" / "config.json").write_bytes((owl / "config.json").read_bytes())

    with pytest.raises(WeightsUnavailableError, match=r"^sam3/model\.safetensors is missing and offline mode is on"):
        fetch_folder(WeightStore(tmp_path, is_offline=True), GATED)


def test_a_page_in_place_of_the_weights_is_refused_and_not_kept(owl: Path, tmp_path: Path) -> None:
    page = b"<!DOCTYPE html><html><title>Sign in</title></html>"

    def answer(asked: Asked) -> Answer:
        return Answer(page) if asked.path.endswith("model.safetensors") else FileServer(owl)(asked)

    with serving(answer) as server:
        store = WeightStore(tmp_path, mirror=server.url)
        with pytest.raises(BrokenWeightsError, match=r"^sam3/model\.safetensors cannot be used: it is an HTML page"):
            fetch_folder(store, GATED)

    assert not (tmp_path / "sam3/model.safetensors").exists()
    assert not (tmp_path / "sam3/model.safetensors.sha256").exists()


def test_a_download_goes_on_after_a_failure(owl: Path, tmp_path: Path) -> None:
    store = WeightStore(tmp_path)
    failing = True

    def answer(asked: Asked) -> Answer:
        if failing and asked.path.endswith("model.safetensors"):
            return Answer(b"", 410)
        return FileServer(owl)(asked)

    with serving(answer) as server:
        store = WeightStore(tmp_path, mirror=server.url)
        with pytest.raises(WeightsUnavailableError, match="410"):
            fetch_folder(store, GATED)
        before = folder_presence(store, GATED)
        failing = False
        asked_before = len(server.asked)
        fetch_folder(store, GATED)

    assert before is Presence.PARTIAL
    assert folder_presence(store, GATED) is Presence.PRESENT
    assert not [one for one in server.paths[asked_before:] if one.endswith("/config.json")]


@pytest.mark.parametrize("status", [401, 403])
def test_gated_weights_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    with serving(lambda asked: Answer(b"", status)) as server:
        hugging_face_at(server, monkeypatch)
        with pytest.raises(
            WeightsUnavailableError,
            match=rf"answered {status}.*accept the licence at {server.url}/facebook/sam3, and set HF_TOKEN to a token",
        ):
            load_segmenter("sam3", store=WeightStore(tmp_path))


def test_a_token_opens_the_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = write_tiny_sam3_tracker(tmp_path / "served")
    with serving(FileServer(served, token="hf_abc")) as server:
        hugging_face_at(server, monkeypatch)
        store = WeightStore(tmp_path / "weights", hugging_face_token="hf_abc")
        segmenter = load_segmenter("sam3", "cpu", store=store)

    assert segmenter.name == "sam3"
    assert "hf_abc" not in repr(store)


def test_missing_weights_without_a_network_say_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"weights download llmdet_tiny.*SAM_WEIGHTS_DIR/llmdet_tiny"):
        load_text_detector("llmdet_tiny", store=WeightStore(tmp_path, is_offline=True))


def test_a_text_detector_without_words_says_that_it_needs_them() -> None:
    with pytest.raises(ValueError, match=r"'owlv2_base' is a model of transformers, .* give the words"):
        load_detector("owlv2_base")


def test_the_names_are_those_of_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {folder.model for folder in FOLDERS}
    monkeypatch.chdir(tmp_path)
    Path("sam_b").mkdir()

    assert len(names) == len(FOLDERS)
    assert not names & {name for weights in CATALOG for name in weights.names}
    assert "edgetam" not in TEXT_DETECTOR_NAMES
    assert model_folder("sam_b") is None
