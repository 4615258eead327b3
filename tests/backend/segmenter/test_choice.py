from pathlib import Path

import pytest

from sam_backend.segmenter.choice import choose_model
from sam_backend.settings import Settings, SettingsError
from sam_model.weights.store import WeightStore
from sam_testing.seeded_checkpoints import write_seeded_checkpoint


def nothing_here(folder: Path) -> WeightStore:
    return WeightStore(folder, mirror="http://127.0.0.1:1", is_offline=False)


def test_the_classical_segmenter_needs_no_weights(tmp_path: Path) -> None:
    choice = choose_model(Settings(model="classical"), nothing_here(tmp_path))

    segmenter = choice.load(lambda _: None)
    assert choice.name == "classical"
    assert choice.version == segmenter.fingerprint


def test_a_folder_of_transformers_is_named_by_the_hash_of_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "sam3"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    weights = folder / "model.safetensors"
    versions = []
    for content in (b"first", b"second", b"first"):
        weights.write_bytes(content)
        choice = choose_model(Settings(model=str(folder), runtime="torch"), nothing_here(tmp_path))
        versions.append(choice.version)

    assert (choice.name, choice.weights_bytes()) == ("sam3", len("first"))
    assert versions[0] == versions[2] != versions[1]
    assert versions[0].startswith("sam3-")


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
