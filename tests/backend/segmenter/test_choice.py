import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sam_backend.segmenter.choice import choose_model
from sam_backend.settings import Settings, SettingsError
from sam_model.weights.catalog import find_weights
from sam_model.weights.store import WeightStore
from sam_testing.seeded_checkpoints import write_seeded_checkpoint

MOBILE_SAM = find_weights("mobile_sam")


def nothing_here(folder: Path) -> WeightStore:
    return WeightStore(folder, mirror="http://127.0.0.1:1", is_offline=False)


def test_the_classical_segmenter_needs_no_weights(tmp_path: Path) -> None:
    choice = choose_model(Settings(model="classical"), nothing_here(tmp_path))

    segmenter = choice.load(lambda _: None)
    assert choice.name == "classical"
    assert choice.version == segmenter.fingerprint


def test_auto_is_classical_and_says_so_where_no_weights_can_be_had(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    choice = choose_model(Settings(model="auto"), nothing_here(tmp_path))

    assert choice.name == "classical"
    assert "could not find weights of mobile_sam" in caplog.text
    assert "SAM_WEIGHTS_DIR" in caplog.text


def test_auto_is_mobile_sam_where_its_weights_are(tmp_path: Path) -> None:
    with (tmp_path / MOBILE_SAM.file).open("wb") as file:
        file.truncate(MOBILE_SAM.size)  # the right size; the hash is looked at when it is loaded

    choice = choose_model(Settings(model="auto", runtime="torch"), WeightStore(tmp_path, is_offline=True))

    assert choice.name == "mobile_sam"
    assert choice.version == f"mobile_sam-{MOBILE_SAM.sha256[:8]}-float32"


def test_auto_is_mobile_sam_where_its_server_answers(tmp_path: Path) -> None:
    class Answers(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(MOBILE_SAM.size))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        mirror = f"http://127.0.0.1:{server.server_port}"

        online = choose_model(Settings(model="auto"), WeightStore(tmp_path, mirror=mirror))
        offline = choose_model(Settings(model="auto"), WeightStore(tmp_path, mirror=mirror, is_offline=True))
        behind_a_proxy = WeightStore(tmp_path, mirror="http://weights.invalid", proxies={"http": mirror})
        by_proxy = choose_model(Settings(model="auto"), behind_a_proxy)
        server.shutdown()

    assert (online.name, offline.name) == ("mobile_sam", "classical")
    assert by_proxy.name == "mobile_sam"


def test_a_file_is_named_by_its_stem_its_hash_and_the_settings(tmp_path: Path) -> None:
    checkpoint = write_seeded_checkpoint(tmp_path / "my model.pt")
    settings = Settings(model=str(checkpoint), dtype="bfloat16", runtime="torch", min_hole_area=30)

    choice = choose_model(settings, nothing_here(tmp_path))

    stem, digest, dtype, cleaning = choice.version.split("-")
    assert (stem, len(digest), dtype, cleaning) == ("my_model", 8, "bfloat16", "holes30")
    assert choice.load(lambda _: None).name == "mobile_sam"


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        ("no-such-model", "SAM_MODEL='no-such-model' is neither a file nor a model"),
        ("/nowhere/sam.pt", "SAM_MODEL='/nowhere/sam.pt' is neither a file nor a model"),
        ("yolov8n", "SAM_MODEL='yolov8n' is a detector"),
    ],
)
def test_what_is_no_segmenter_stops_the_start(tmp_path: Path, model: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        choose_model(Settings(model=model), nothing_here(tmp_path))
