import threading

import pytest

from sam_backend.request_pool import PoolFullError, RequestPool, slot_released


def test_a_pool_takes_threads_and_waiting_requests_and_refuses_the_next() -> None:
    pool = RequestPool("test", threads=2, waiting=1)
    may_end = threading.Event()

    futures = [pool.submit(may_end.wait) for _ in range(3)]
    assert pool.is_full
    with pytest.raises(PoolFullError):
        pool.submit(may_end.wait)
    may_end.set()
    for future in futures:
        future.result(10)

    assert pool.submit(lambda: "again").result(10) == "again"


def test_no_more_than_its_threads_run_at_the_same_time() -> None:
    pool = RequestPool("test", threads=2, waiting=6)
    running, most, lock = 0, 0, threading.Lock()
    two_run = threading.Barrier(2)

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        two_run.wait(10)
        with lock:
            running -= 1

    for future in [pool.submit(work) for _ in range(8)]:
        future.result(10)

    assert most == 2


def test_a_request_that_waits_outside_its_slot_lets_another_run() -> None:
    pool = RequestPool("test", threads=1, waiting=1)
    image_is_there = threading.Event()

    def wait_for_image() -> bool:
        with slot_released():
            return image_is_there.wait(10)

    slow = pool.submit(wait_for_image)
    quick = pool.submit(lambda: "mask")

    assert quick.result(10) == "mask"
    assert not slow.done()
    image_is_there.set()
    assert slow.result(10)


def test_outside_a_pool_there_is_no_slot_to_release() -> None:
    with slot_released():
        pass
