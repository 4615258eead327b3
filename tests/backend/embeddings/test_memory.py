import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from sam_backend.embeddings.memory import CacheStatistics, EmbeddingCache


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


class Prepared:
    """An embedding of 10 bytes to which prompts add 20."""

    nbytes, image_size, fingerprint = 10, (2, 3), "prepared"

    def __init__(self) -> None:
        self.shared_nbytes = 20

    def drop_shared(self) -> None:
        self.shared_nbytes = 0


def test_what_prompts_share_is_within_the_bound_and_replaces_no_embedding() -> None:
    cache: EmbeddingCache[Prepared] = EmbeddingCache(400)  # so 50 bytes for what prompts share
    kept = {key: cache.get_or_compute(key, Prepared)[0] for key in "abcdef"}

    assert [key for key, one in kept.items() if one.shared_nbytes] == ["e", "f"]
    assert cache.statistics().bytes_held == 100
    kept["a"].shared_nbytes = 20  # a prompt
    cache.get("a")

    assert [key for key, one in kept.items() if one.shared_nbytes] == ["a", "f"]
    assert cache.statistics() == CacheStatistics(hits=1, misses=6, entries=6, bytes_held=100, bytes_allowed=400)


def test_the_image_that_was_used_last_keeps_what_its_prompts_share_while_it_fits() -> None:
    small: EmbeddingCache[Prepared] = EmbeddingCache(40)
    smaller: EmbeddingCache[Prepared] = EmbeddingCache(25)

    first, second, third = (cache.get_or_compute("a", Prepared)[0] for cache in (small, small, smaller))

    assert (first is second, first.shared_nbytes, third.shared_nbytes) == (True, 20, 0)
    small.get_or_compute("b", Prepared)
    assert (first.shared_nbytes, small.statistics().bytes_held) == (0, 40)
