import threading

import pytest

from sam_backend.errors import ImageNotFoundError
from sam_backend.prefetch import WAITING_AT_MOST, Prefetcher


def test_the_newest_job_goes_first_and_the_oldest_are_dropped() -> None:
    prefetcher = Prefetcher()
    started, go_on, last = threading.Event(), threading.Event(), threading.Event()
    done: list[str] = []
    prefetcher.submit("busy", lambda: (started.set(), go_on.wait(timeout=10)))
    started.wait(timeout=10)

    names = [f"task {i}" for i in range(WAITING_AT_MOST + 2)]
    for name in names:
        prefetcher.submit(name, lambda name=name: (done.append(name), name == names[2] and last.set()))
    go_on.set()

    assert last.wait(timeout=10)
    assert done == names[:1:-1]


def test_a_job_that_fails_does_not_stop_the_next(caplog: pytest.LogCaptureFixture) -> None:
    prefetcher = Prefetcher()
    failed, crashed, done = threading.Event(), threading.Event(), threading.Event()

    def fail() -> None:
        failed.set()
        raise ImageNotFoundError("task 3: gone")

    def crash() -> None:
        crashed.set()
        raise ZeroDivisionError

    for name, job, happened in (("bad", fail, failed), ("worse", crash, crashed), ("good", done.set, done)):
        prefetcher.submit(name, job)
        assert happened.wait(timeout=10)

    assert "prefetch of bad: task 3: gone" in caplog.text
    assert "prefetch of worse failed" in caplog.text
