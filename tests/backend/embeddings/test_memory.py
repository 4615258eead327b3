import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from sam_backend.embeddings.memory import EmbeddingCache


@dataclass(frozen=True)
class Sized:
    nbytes: int
    image_size: tuple[int, int] = (2, 3)
    fingerprint: str = "sized"


def test_the_second_request_for_an_image_finds_the_first_ones_embedding() -> None:
    cache: EmbeddingCache[Sized] = EmbeddingCache(100)
    first, was_there_first = cache.get_or_compute("a", lambda: Sized(10))

    second, was_there_second = cache.get_or_compute("a", lambda: pytest.fail("computed twice"))

    assert second is first
    assert (was_there_first, was_there_second) == (False, True)


def test_the_embedding_that_was_used_longest_ago_makes_room() -> None:
    cache: EmbeddingCache[Sized] = EmbeddingCache(100)
    for key in ("a", "b"):
        cache.get_or_compute(key, lambda: Sized(40))
    cache.get_or_compute("a", lambda: Sized(40))

    cache.get_or_compute("c", lambda: Sized(40))

    assert ("a" in cache, "b" in cache, "c" in cache) == (True, False, True)
    assert cache.statistics().bytes_held == 80


def test_an_embedding_above_the_limit_is_answered_but_not_kept() -> None:
    cache: EmbeddingCache[Sized] = EmbeddingCache(100)
    cache.get_or_compute("small", lambda: Sized(60))

    embedding, _ = cache.get_or_compute("big", lambda: Sized(101))

    assert embedding.nbytes == 101
    assert ("small" in cache, "big" in cache) == (True, False)


def test_many_threads_at_once_cost_one_computation() -> None:
    cache: EmbeddingCache[Sized] = EmbeddingCache(100)
    go_on = threading.Event()
    computed = []

    def compute() -> Sized:
        computed.append(threading.get_ident())
        go_on.wait(timeout=10)
        return Sized(10)

    with ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(cache.get_or_compute, "a", compute) for _ in range(8)]
        go_on.set()
        embeddings = {id(answer.result(timeout=10)[0]) for answer in answers}

    assert len(computed) == 1
    assert len(embeddings) == 1
    assert cache.statistics().misses == 1
    assert cache.statistics().hits == 7


def test_a_failure_reaches_everyone_who_waits_and_is_then_forgotten() -> None:
    cache: EmbeddingCache[Sized] = EmbeddingCache(100)
    started, go_on = threading.Event(), threading.Event()

    def fail() -> Sized:
        started.set()
        go_on.wait(timeout=10)
        raise OSError("no image")

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(cache.get_or_compute, "a", fail)
        started.wait(timeout=10)
        second = threads.submit(cache.get_or_compute, "a", lambda: Sized(10))
        while cache.statistics().hits == 0:  # until the second waits for the first
            threading.Event().wait(0.001)
        go_on.set()
        errors = [type(first.exception(timeout=10)), type(second.exception(timeout=10))]

    again, was_there = cache.get_or_compute("a", lambda: Sized(10))

    assert errors == [OSError, OSError]
    assert (again.nbytes, was_there) == (10, False)
