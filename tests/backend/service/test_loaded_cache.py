"""Loaded models: each one once, the ones used last stay."""

import threading
from typing import Any

import pytest

from sam_backend.service.loaded_cache import LoadedCache


class Loader:
    """Counts loads; what it loads are numbers."""

    def __init__(self) -> None:
        self.loads = 0

    def __call__(self) -> Any:
        self.loads += 1
        return self.loads


def test_a_key_is_loaded_once_although_two_threads_need_it() -> None:
    cache, may_load, loads = LoadedCache(), threading.Event(), []

    def load() -> Any:
        loads.append(1)
        may_load.wait(30)
        return "loaded"

    first, second = cache.get("a", load), cache.get("a", load)
    may_load.set()

    assert first is second
    assert first.result(30) == "loaded"
    assert loads == [1]


def test_the_key_used_longest_ago_is_dropped() -> None:
    cache, load = LoadedCache(max_loaded=2), Loader()

    for key in ("a", "b", "a", "c"):  # c takes the place of b
        cache.get(key, load).result(30)

    assert load.loads == 3
    assert cache.get("a", load).result(30) == 1
    assert cache.get("b", load).result(30) == 4


def test_a_load_that_failed_is_tried_again() -> None:
    cache = LoadedCache()

    def fail() -> Any:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        cache.get("a", fail).result(30)

    assert cache.get("a", lambda: "loaded").result(30) == "loaded"
