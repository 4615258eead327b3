import asyncio
import base64
import math
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sam_backend.web import malloc
from sam_model.runtime import openvino_runtime
from sam_testing.backend_program import BackendProgram
from sam_testing.label_studio import key_point, predict_request
from sam_testing.memory import anonymous_bytes
from sam_testing.processes import process_tree
from sam_testing.service import png_image

THREADS, CLICKS = 12, 48
LIMIT = 60_000_000  # bytes


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[BackendProgram]:
    program = BackendProgram(tmp_path / "log", SAM_EMBEDDING_CACHE_MIB="4", SAM_RUNS_DIR=str(tmp_path))
    try:
        yield program
    finally:
        program.stop()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc; malloc_trim is glibc's")
def test_clicks_on_many_threads_leave_no_free_memory_in_the_process(backend: BackendProgram) -> None:
    """Memory grows by 104 MB until it is trimmed, then by 40 MB: buffers of the threads, the same after 192 clicks."""
    assert click_on_new_image(backend, CLICKS) == 200  # the first click imports what it needs
    pids = process_tree(backend.process.pid)
    before = sum(map(anonymous_bytes, pids))

    with ThreadPoolExecutor(THREADS) as clients:
        statuses = list(clients.map(lambda number: click_on_new_image(backend, number), range(CLICKS)))

    assert statuses == [200] * CLICKS
    backend.wait_until(lambda: sum(map(anonymous_bytes, pids)) < before + LIMIT, 30)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="malloc_trim is glibc's")
def test_an_idle_service_returns_the_memory_of_its_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    is_released = threading.Event()
    monkeypatch.setattr(openvino_runtime, "release_memory", is_released.set)
    monkeypatch.setattr(malloc, "TRIM_EVERY_S", 0.01)

    async def wait() -> bool:
        trimming = asyncio.create_task(malloc.trim_regularly(lambda: -math.inf))
        try:
            return await asyncio.to_thread(is_released.wait, 30)
        finally:
            trimming.cancel()

    assert asyncio.run(wait())


def click_on_new_image(backend: BackendProgram, number: int) -> int:
    width, height = 320 + number, 240
    image = "data:image/png;base64," + base64.b64encode(png_image(width, height)).decode()
    point = key_point(50, 50, original_width=width, original_height=height)
    return backend.ask("/predict", predict_request([point], data={"image": image}))[0]
