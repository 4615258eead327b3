import threading

import pytest

from sam_model.images.budget import MemoryBudget
from sam_model.images.decode import decode_image
from sam_model.images.errors import DecoderBusyError, ImageTooLargeError
from sam_testing.image_files import colours, saved


def test_what_needs_more_than_the_whole_budget_is_refused_without_waiting() -> None:
    budget = MemoryBudget(10 << 20, wait_s=60)

    with (
        pytest.raises(ImageTooLargeError, match=r"about 11 MiB.*limit of 10 MiB"),
        budget.reserve(11 << 20),
    ):
        pass


def test_what_does_not_become_free_in_time_is_an_error_and_takes_nothing() -> None:
    budget = MemoryBudget(100, wait_s=0.01)

    with budget.reserve(60):
        with pytest.raises(DecoderBusyError, match="try again later"), budget.reserve(50):
            pass
        with budget.reserve(40):
            pass
    with budget.reserve(100):
        pass


def test_an_error_while_decoding_gives_the_memory_back() -> None:
    budget = MemoryBudget(100, wait_s=0.01)

    with pytest.raises(KeyError), budget.reserve(100):
        raise KeyError
    with budget.reserve(100):
        pass


def test_threads_together_never_hold_more_than_the_budget() -> None:
    budget = MemoryBudget(100)
    held, most, lock = 0, 0, threading.Lock()

    def work(size: int) -> None:
        nonlocal held, most
        for _ in range(200):
            with budget.reserve(size):
                with lock:
                    held += size
                    most = max(most, held)
                with lock:
                    held -= size

    threads = [threading.Thread(target=work, args=(size,)) for size in (10, 30, 50, 60, 90, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (held, most <= 100) == (0, True)


def test_a_large_image_is_not_passed_by_small_ones_for_ever() -> None:
    budget = MemoryBudget(100)
    order: list[str] = []
    queued = threading.Event()

    def large() -> None:
        queued.set()
        with budget.reserve(100):
            order.append("large")

    def small() -> None:
        with budget.reserve(10):
            order.append("small")

    with budget.reserve(50):
        first = threading.Thread(target=large)
        first.start()
        queued.wait()
        while not budget.waiting:
            pass
        second = threading.Thread(target=small)
        second.start()
        while budget.waiting < 2:
            pass
    first.join()
    second.join()

    assert order == ["large", "small"]


def test_decoding_takes_its_memory_from_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sam_model.images.decode.DECODING_MEMORY", MemoryBudget(1000))

    with pytest.raises(ImageTooLargeError, match=r"PNG image of 30 x 20 pixels.*SAM_DECODE_MEMORY_MIB"):
        decode_image(saved(colours(), "PNG"))
