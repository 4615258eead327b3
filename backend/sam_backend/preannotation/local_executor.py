"""Runs the stages on this machine: pictures are fetched while others are looked at, and memory stays bounded."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from sam_backend.preannotation.outcome import BulkTask, Outcome
from sam_backend.preannotation.preannotator import FetchedTask, Preannotator

FETCH_THREADS = 4
POLL_S = 0.1  # how soon it is seen that the run is to stop


class LocalExecutor:
    """An `Executor` of threads: `FETCH_THREADS` wait for the network, `compute_threads` keep processor or device busy.

    PyTorch works with all cores by itself, so one compute thread is right for it; the classical models use one core a
    thread.
    """

    def __init__(
        self, preannotator: Preannotator, *, compute_threads: int = 1, fetch_threads: int = FETCH_THREADS
    ) -> None:
        self._preannotator = preannotator
        self._compute_threads, self._fetch_threads = compute_threads, fetch_threads
        self._most_in_work = 2 * compute_threads + fetch_threads  # tasks whose pictures may be in memory

    def run(self, tasks: Iterable[BulkTask], is_stopping: Callable[[], bool]) -> Iterator[Outcome]:
        """The outcomes, as they are ready; what is in work when `is_stopping()` turns true gets none."""
        done: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        fetching = ThreadPoolExecutor(self._fetch_threads, thread_name_prefix="fetch")
        computing = ThreadPoolExecutor(self._compute_threads, thread_name_prefix="compute")
        is_over = threading.Event()

        def compute(fetched: FetchedTask) -> None:
            if not is_over.is_set():
                done.put(self._preannotator.annotate(fetched))

        def hand_on(future: "Future[FetchedTask | Outcome]") -> None:
            if is_over.is_set() or future.cancelled():
                return
            fetched = future.result()  # `fetch` raises nothing
            if isinstance(fetched, Outcome):
                done.put(fetched)
            else:
                with suppress(RuntimeError):  # shut down in this very moment
                    computing.submit(compute, fetched)

        in_work = 0
        ahead = iter(tasks)
        is_more = True
        try:
            while (is_more or in_work) and not is_stopping():
                while is_more and in_work < self._most_in_work and not is_stopping():
                    task = next(ahead, None)
                    is_more = task is not None
                    if task is not None:
                        fetching.submit(self._preannotator.fetch, task).add_done_callback(hand_on)
                        in_work += 1
                try:
                    outcome = done.get(timeout=POLL_S)
                except queue.Empty:
                    continue
                in_work -= 1
                yield outcome
        finally:
            is_over.set()
            fetching.shutdown(wait=False, cancel_futures=True)
            computing.shutdown(wait=False, cancel_futures=True)
