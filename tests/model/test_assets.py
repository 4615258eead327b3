import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sam_model import ASSETS
from sam_model.scripting.sources import open_source

ROOT = Path(__file__).parents[2]


def test_the_sample_images_can_be_read_and_are_those_whose_licences_are_documented() -> None:
    images = list(open_source(ASSETS))

    assert len(images) == 3
    for one in images:
        name = Path(one.path).name
        assert Path(one.path).read_bytes() == (ROOT / "examples/photos" / name).read_bytes()
        assert f"`{name}`" in (ASSETS / "README.md").read_text()


@pytest.mark.slow  # creates an environment for the build
def test_the_wheel_has_the_sample_images(tmp_path: Path) -> None:
    wheel = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(wheel, check=True, timeout=250)

    (file,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(file).namelist()
    assert {f"sam_model/assets/{image.name}" for image in ASSETS.iterdir()} <= set(names)
