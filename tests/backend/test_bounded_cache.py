from sam_backend.bounded_cache import BoundedCache


def test_the_entries_used_last_are_kept_up_to_their_number() -> None:
    cache: BoundedCache[str, int] = BoundedCache(max_entries=2, max_bytes=100)
    cache.put("a", 1, 10)
    cache.put("b", 2, 10)
    cache.get("a")

    cache.put("c", 3, 10)

    assert ("a" in cache, "b" in cache, "c" in cache) == (True, False, True)
    assert cache.bytes_held == 20


def test_entries_are_dropped_until_their_bytes_fit() -> None:
    cache: BoundedCache[str, int] = BoundedCache(max_entries=10, max_bytes=100)
    for key in "abc":
        cache.put(key, 1, 30)

    cache.put("d", 1, 60)

    assert [key for key in "abcd" if key in cache] == ["c", "d"]
    assert cache.bytes_held == 90


def test_an_entry_that_alone_is_too_large_is_not_kept_and_replaces_the_old_one() -> None:
    cache: BoundedCache[str, int] = BoundedCache(max_entries=10, max_bytes=100)
    cache.put("a", 1, 30)

    cache.put("a", 2, 101)

    assert cache.get("a") is None
    assert (len(cache), cache.bytes_held) == (0, 0)


def test_replacing_an_entry_counts_its_size_once() -> None:
    cache: BoundedCache[str, int] = BoundedCache(max_entries=10, max_bytes=100)

    cache.put("a", 1, 80)
    cache.put("a", 2, 90)

    assert (cache.get("a"), cache.bytes_held) == (2, 90)
