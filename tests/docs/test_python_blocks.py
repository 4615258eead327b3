"""Every Python block of the documentation runs, with small seeded networks under the official file names."""

import shutil
from pathlib import Path

import PIL.Image
import pytest

from sam_model import ASSETS
from sam_testing.documentation import PAGES, ROOT, code_blocks
from sam_testing.tiny_weights import know_tiny_sizes, use_small_grids, write_tiny_weights

BLOCKS = [
    pytest.param(body, id=f"{page.name}-{number}")
    for page in PAGES
    if page.name != "README.zh-CN.md"  # its code is that of README.md
    for number, (language, body) in enumerate(code_blocks(page), 1)
    if language == "python"
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with the weights and images that the pages name."""
    folder = tmp_path_factory.mktemp("documentation")
    write_tiny_weights(folder)
    with PIL.Image.open(ASSETS / "astronaut.jpg") as image:
        image.resize((1280, 720)).save(folder / "zidane.jpg")
        image.resize((405, 540)).save(folder / "bus.jpg")
    (folder / "photos").mkdir()
    shutil.copy(ASSETS / "coffee.jpg", folder / "photos")
    return folder


def test_the_pages_have_python_blocks() -> None:
    assert {ROOT / "README.md", ROOT / "docs/python-and-cli.md"} <= set(PAGES)
    assert len(BLOCKS) >= 4


@pytest.mark.parametrize("body", BLOCKS)
def test_the_block_runs(body: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).symlink_to(file)
    know_tiny_sizes(monkeypatch)
    use_small_grids(monkeypatch)
    monkeypatch.chdir(tmp_path)

    exec(compile(body, "documentation", "exec"), {"__name__": "__main__"})
