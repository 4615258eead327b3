"""What a small file can cost: measured in a process of its own, by its processor time and its peak of memory."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sam_testing.hostile_images import BOMBS, LARGE

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")

DECODE = """
import json, sys, time
from pathlib import Path
from PIL import ImageCms
from sam_model.images.decode import decode_image
from sam_model.images.errors import ImageDecodeError

def kilobytes(field):  # ru_maxrss would be the parent's
    return int(Path("/proc/self/status").read_text().split(field + ":")[1].split()[0])

data = Path(sys.argv[1]).read_bytes()
before, began = kilobytes("VmRSS"), time.process_time()
try:
    outcome, refusal = list(decode_image(data).shape), None
except ImageDecodeError as error:
    outcome, refusal = type(error).__name__, str(error)
seconds, megabytes = time.process_time() - began, (kilobytes("VmHWM") - before) * 1024 / 1e6
print(json.dumps({"outcome": outcome, "refusal": refusal, "seconds": seconds, "megabytes": megabytes}))
"""

NEED_TOO_MUCH_MEMORY = {"tiff 16 bit rgb in one strip", "tiff float rgb", "tiff double"}
TOO_LARGE, BROKEN = "ImageTooLargeError", "BrokenImageError"
OUTCOMES = {
    "jpeg of 500 scans": TOO_LARGE,
    "jpeg of 100 scans": [4000, 4000, 3],
    "jpeg of 16 scans 4:4:4": [10_000, 10_000, 3],
    "jpeg of many segments": TOO_LARGE,
    "jpeg of many exif segments": TOO_LARGE,
    "jpeg of overlapping exif values": [64, 64, 3],
    "png of overlapping exif values": [64, 64, 3],
    "png text bomb": BROKEN,
    "png international text bomb": BROKEN,
    "png profile bomb": BROKEN,
    "png of many texts": TOO_LARGE,
    "png of empty idats": TOO_LARGE,
    "png of a chunk longer than the file": BROKEN,
    "png of a last chunk longer than the file": [64, 64, 3],
    "png of many frames": [10_000, 10_000, 3],
    "png with an absurd table in its profile": [2000, 2000, 3],
    "gif of one long comment": TOO_LARGE,
    "gif of 2000 frames": [500, 500, 3],
    "bmp of one row": TOO_LARGE,
    "webp animated": TOO_LARGE,
    "tiff of overlapping tags": TOO_LARGE,
    "tiff of fewer overlapping tags": BROKEN,
    "tiff of strips of one pixel": [65_000, 1, 3],
    "tiff of overlapping strips": BROKEN,
    "avif": [6000, 6000, 3],
}


def cost(data: bytes, folder: Path) -> dict[str, Any]:
    path = folder / "image"
    path.write_bytes(data)
    done = subprocess.run([sys.executable, "-c", DECODE, str(path)], capture_output=True, text=True, check=True)
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_100_megapixels_cost_less_than_1500_mb_and_8_s_or_are_refused_at_once(name: str, tmp_path: Path) -> None:
    measured = cost(LARGE[name](), tmp_path)

    if name in NEED_TOO_MUCH_MEMORY:
        assert measured["outcome"] == TOO_LARGE
        assert "SAM_DECODE_MEMORY_MIB" in measured["refusal"]
        assert measured["seconds"] < 1
        assert measured["megabytes"] < 100
    else:
        assert measured["outcome"] == [10_000, 10_000, 3], measured["refusal"]
        assert measured["seconds"] < 8
        assert measured["megabytes"] < 1500


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_what_costs_more_than_its_pixels_is_refused_at_once_or_costs_little(name: str, tmp_path: Path) -> None:
    measured = cost(BOMBS[name](), tmp_path)

    assert measured["outcome"] == OUTCOMES[name], measured["refusal"]
    if isinstance(measured["outcome"], str):
        assert measured["seconds"] < 1
        assert measured["megabytes"] < 100
    else:
        pixels = measured["outcome"][0] * measured["outcome"][1]
        assert measured["seconds"] < 8
        assert measured["megabytes"] < 150 + 12 * pixels / 1e6
