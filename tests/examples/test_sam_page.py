"""The snippets of Ultralytics' SAM page, with the import changed and sample images of the package."""

import runpy
from pathlib import Path

import pytest

from sam_testing.tiny_weights import know_tiny_sizes, use_small_grids, write_tiny_weights

EXAMPLES = Path(__file__).parents[2] / "examples" / "sam_page"
# example -> a part of what it prints, and the files that it writes
EXPECTED = {
    "prompts.py": ("torch.Size([1, 400, 600])", {"spoon.png"}),
    "everything.py": (" masks", {"everything.png"}),
    "predictor.py": ("array(", set()),
    "predictor_everything.py": (" masks", set()),
    "compare_models.py": ("parameters", set()),
    "auto_annotate.py": ("", {"labels", "labels_of_people"}),
    "edges_and_proposals.py": ("tensor(", {"edges.png"}),
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    write_tiny_weights(folder)
    return folder


@pytest.mark.parametrize("example", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_the_example_runs(
    example: str, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in weights.iterdir():
        (tmp_path / file.name).symlink_to(file)
    know_tiny_sizes(monkeypatch)
    use_small_grids(monkeypatch)
    monkeypatch.chdir(tmp_path)
    printed, files = EXPECTED[example]

    runpy.run_path(str(EXAMPLES / example), run_name="__main__")

    assert printed in capsys.readouterr().out
    assert files <= {path.name for path in tmp_path.iterdir()}


def test_each_example_is_short() -> None:
    assert all(len(path.read_text().splitlines()) <= 60 for path in EXAMPLES.glob("*.py"))
