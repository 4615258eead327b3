"""A click on an image of 100 megapixels: the whole way, from the request to the region, in less than 2 GB."""

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from sam_testing.backend_program import BackendProgram
from sam_testing.label_studio import key_point, predict_request
from sam_testing.web_server import Answer, serving

SIDE = 10_000


def pixels() -> np.ndarray:
    """Return a bright disc of 120 pixels on a dark image."""
    image = np.full((SIDE, SIDE, 3), 40, np.uint8)
    cv2.circle(image, (SIDE // 2, SIDE // 2), 60, (230, 220, 90), -1)
    return image


def jpeg() -> bytes:
    return cv2.imencode(".jpg", pixels())[1].tobytes()


def striped_tiff() -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels(), rowsperstrip=16, compression="deflate", photometric="rgb")
    return file.getvalue()


def peak_mib(pid: int) -> float:
    """Return the largest peak of memory of a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    own = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
    return max([own, *(peak_mib(int(child)) for child in children)])


@pytest.mark.slow
@pytest.mark.parametrize("encode", [jpeg, striped_tiff])
def test_a_click_on_100_megapixels_takes_less_than_2_gb(encode: Callable[[], bytes], tmp_path: Path) -> None:
    file = encode()
    with serving(lambda asked: Answer(file, headers={"ETag": '"1"'})) as web:
        settings = {"SAM_RUNS_DIR": str(tmp_path / "runs"), "SAM_ALLOW_PRIVATE_ADDRESSES": "true"}
        backend = BackendProgram(tmp_path / "log", SAM_FETCH_TIMEOUT_S="120", **settings)
        try:
            size = {"original_width": SIDE, "original_height": SIDE}
            request = predict_request([key_point(50, 50, **size)], data={"image": f"{web.url}/large"})
            status, answer = backend.ask("/predict", request)
            peak = peak_mib(backend.process.pid)
        finally:
            backend.stop()

    assert status == 200, answer
    (region,) = answer["results"][0]["result"]
    assert len(region["value"]["rle"]) < 100_000  # the disc, not the background's noise
    assert peak < 2000
