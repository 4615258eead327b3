from pathlib import Path

import pytest

from sam_backend.commands.main import main
from sam_testing.tiny_transformers import write_tiny_owl
from sam_testing.web_server import Answer, Asked, serving


@pytest.fixture(autouse=True)
def weights_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAM_WEIGHTS_DIR", str(tmp_path / "weights"))
    return tmp_path / "weights"


def test_the_list_has_licence_gate_and_where_the_hash_comes_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "list"]) == 0

    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert rows["yolov8x"].split()[1:] == ["yolov8x.pt", "136.9", "missing", "recorded", "AGPL-3.0"]
    assert rows["sam3"].endswith("first download SAM License gated: accept the licence, set HF_TOKEN")
    assert "gated" not in rows["owlv2_base"]
    assert rows["owlv2_base"].split()[1:] == ["owlv2_base/", "?", "missing", "first", "download", "Apache-2.0"]


def test_a_folder_is_downloaded_located_and_verified(
    tmp_path: Path, weights_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served = write_tiny_owl(tmp_path / "served")

    def answer(asked: Asked) -> Answer:
        path = served / asked.path.rpartition("/")[2]
        return Answer(path.read_bytes()) if path.is_file() else Answer(b"", 404)

    with serving(answer) as server:
        monkeypatch.setenv("SAM_WEIGHTS_MIRROR", server.url)
        assert main(["weights", "path", "owlv2_base"]) == 1
        assert main(["weights", "download", "owlv2_base"]) == 0
    assert "owlv2_base; no hash is recorded for its files" in capsys.readouterr().out
    assert main(["weights", "path", "owlv2_base"]) == 0
    assert capsys.readouterr().out.strip() == str(weights_dir / "owlv2_base")
    assert main(["weights", "verify"]) == 0
    (weights_dir / "owlv2_base/config.json").write_text("{}")
    assert main(["weights", "verify", "owlv2_base"]) == 1
    assert "owlv2_base/config.json is not the file of owlv2_base: it is another file" in capsys.readouterr().err
    (weights_dir / "owlv2_base/config.json").unlink()
    assert main(["weights", "verify", "owlv2_base"]) == 1
    assert "owlv2_base/config.json is missing" in capsys.readouterr().err


def test_an_unknown_name_is_named_with_files_and_folders(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "download", "sam_x"]) == 2

    assert "unknown weights 'sam_x'; known: mobile_sam" in (said := capsys.readouterr().err)
    assert "llmdet_large" in said
