import os
import subprocess
import sys
from pathlib import Path

import PIL.Image

ROOT = Path(__file__).parents[2]


def test_the_example_annotates_the_photographs(tmp_path: Path) -> None:
    """As it stands, in another folder, with the seven photographs of `examples/photos`."""
    run = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "annotate_folder.py")],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=200,
    )

    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("8 objects in 7 images, 0 failed")
    assert len(list((tmp_path / "annotations" / "labels").glob("*.txt"))) == 7
    assert (tmp_path / "annotations" / "labels" / "astronaut.txt").read_text().startswith("1 0.")
    with PIL.Image.open(tmp_path / "annotations" / "sheet.png") as sheet:
        assert sheet.width > 1000


def test_the_example_is_short() -> None:
    assert len((ROOT / "examples" / "annotate_folder.py").read_text().splitlines()) <= 60
