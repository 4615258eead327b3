"""glibc's malloc: few arenas, and memory that is free goes back to the operating system.

By default each thread allocates from an arena of its own (up to 8 per core), and an arena keeps what it frees. Clicks
on 16 threads so left 330 MB free inside the process with 54 MB in use; with both functions 97 MB stay in all.
Other C libraries (musl, macOS) have neither call; there both functions do nothing.
Source: mallopt(3), malloc_trim(3).
"""

import asyncio
import ctypes

ARENAS = 4
TRIM_EVERY_S = 5.0  # a trim takes 10 to 18 ms after work and 0.4 ms without; lower limits of malloc cost 45 % more CPU

_M_ARENA_MAX = -8  # malloc.h


def limit_arenas() -> None:
    """Let all threads share a few arenas; call it before the first thread starts."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, ARENAS)


async def trim_regularly() -> None:
    """Return free memory to the operating system every few seconds, until cancelled."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while malloc_trim is not None:
        await asyncio.sleep(TRIM_EVERY_S)
        await asyncio.to_thread(malloc_trim, 0)
