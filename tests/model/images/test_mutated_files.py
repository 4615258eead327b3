"""Valid small files of every format with random changes: decoded, or refused with one of the decoder's errors."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sam_model.images.decode import decode_image
from sam_model.images.errors import ImageDecodeError
from sam_testing.image_files import IMAGES_A_BROWSER_SHOWS, colours, saved

MAX_PIXELS = 1_000_000


def tiff(dtype: type, **options: object) -> bytes:
    file = BytesIO()
    tifffile.imwrite(file, colours().astype(dtype), photometric="rgb", **options)
    return file.getvalue()


FILES = {name: write() for name, (_, write) in IMAGES_A_BROWSER_SHOWS.items() if "orientation" not in name} | {
    "tiff": tiff(np.uint8),
    "tiff big": tiff(np.uint8, bigtiff=True),
    "tiff big endian": tiff(np.uint16, byteorder=">"),
    "tiff tiles": tiff(np.uint8, tile=(16, 16), compression="zlib"),
    "tiff float": tiff(np.float32, compression="zlib"),
    "tiff lzw": saved(colours(), "TIFF", compression="tiff_lzw"),
    "tiff jpeg": saved(colours(), "TIFF", compression="jpeg"),
}
INTERESTING = [0, 1, 2, 7, 8, 16, 32, 64, 127, 128, 254, 255]
Change = tuple[float, int | None, int]


@st.composite
def changed(draw: st.DrawFn) -> bytes:
    data = bytearray(FILES[draw(st.sampled_from(sorted(FILES)))])
    # headers are where a byte does most
    place = st.one_of(st.integers(0, 63), st.integers(0, len(data) - 1))
    for _ in range(draw(st.integers(1, 6))):
        at = min(draw(place), len(data) - 1)
        data[at] = draw(st.one_of(st.sampled_from(INTERESTING), st.integers(0, 255)))
    match draw(st.sampled_from(["whole", "cut", "repeat", "drop"])):
        case "cut":
            del data[draw(st.integers(1, len(data))) :]
        case "repeat":
            start = draw(st.integers(0, len(data) - 1))
            data[start:start] = data[start : start + draw(st.integers(1, 400))] * draw(st.integers(1, 20))
        case "drop":
            start = draw(st.integers(0, len(data) - 1))
            del data[start : start + draw(st.integers(1, 40))]
    return bytes(data)


@pytest.fixture(scope="module", autouse=True)
def peak_of_memory() -> object:
    """Fail where all the files together took more than their budget at any time."""
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not clear.exists():
        yield
        return
    clear.write_text("5")  # the peak begins anew
    before = status.read_text()
    yield
    after = status.read_text()
    kilobytes = [int(text.split("VmHWM:")[1].split()[0]) for text in (before, after)]
    assert kilobytes[1] - kilobytes[0] < 400 * 1024


@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
@given(changed())
def test_a_changed_file_is_decoded_or_refused_with_an_error_of_the_decoder(data: bytes) -> None:
    try:
        image = decode_image(data, max_pixels=MAX_PIXELS)
    except ImageDecodeError:
        return
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.shape[2] == 3
    assert 0 < image.shape[0] * image.shape[1] <= MAX_PIXELS
