"""glibc's malloc: few arenas, and memory that is free goes back to the operating system.

By default each thread allocates from an arena of its own (up to 8 per core), and an arena keeps what it frees. Clicks
on 16 threads so left 330 MB free inside the process with 54 MB in use; with both functions 97 MB stay in all.
Other C libraries (musl, macOS) have neither call; there both functions do nothing.
Source: mallopt(3), malloc_trim(3).
"""

import asyncio
import ctypes
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

ARENAS = 4
TRIM_EVERY_S = 5.0  # a trim takes 10 to 18 ms after work and 0.4 ms without; lower limits of malloc cost 45 % more CPU
IDLE_S = 10.0  # without a prediction before a trim; a click that has to get the memory again takes 30 ms longer
MAX_GROWTH = 512 << 20  # bytes of resident memory since the last trim; above it, a trim does not wait for IDLE_S

_M_ARENA_MAX = -8  # malloc.h


def limit_arenas() -> None:
    """Let all threads share a few arenas; call it before the first thread starts."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, ARENAS)


async def trim_regularly(last_prediction: Callable[[], float]) -> None:
    """Return free memory to the operating system when no predictions are asked for or much was added, until cancelled.

    Args:
        last_prediction: returns when the last prediction was asked for, in seconds of `time.monotonic`.
    """
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    kept = 0
    while malloc_trim is not None:
        await asyncio.sleep(TRIM_EVERY_S)
        if time.monotonic() - last_prediction() >= IDLE_S or _resident_bytes() > kept + MAX_GROWTH:
            await asyncio.to_thread(_free_memory, malloc_trim)
            kept = _resident_bytes()


def _free_memory(malloc_trim: Callable[[int], int]) -> None:
    runtime = sys.modules.get("sam_model.runtime.openvino_runtime")  # which takes a second to import
    if runtime is not None:
        runtime.release_memory()
    malloc_trim(0)


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
