"""Pre-annotation on this machine: images are fetched while others are segmented; memory is bounded."""

import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Protocol

from sam_backend.preannotation.outcome import BulkTask, Outcome
from sam_backend.preannotation.preannotator import FetchedTask
from sam_backend.settings import Settings
from sam_model.runtime.combined_calls import images_per_batch
from sam_model.runtime.probe import find_runtime

FETCH_THREADS = 4
POLL_S = 0.1  # interval of checks whether the run is to stop


class Stages(Protocol):
    """The two stages of a task; `Preannotator` has them. Neither raises. Threads share it."""

    def fetch(self, task: BulkTask) -> FetchedTask | Outcome:
        """Fetch the task's images, or return its outcome at once."""

    def annotate(self, fetched: FetchedTask) -> Outcome:
        """Process a fetched task."""


def compute_threads(segmenter: str, settings: Settings) -> int:
    """Return how many threads compute the tasks of a run with a segmenter, given by name.

    The classical segmenter uses one core per thread. A network uses all cores, or the GPU, for a batch of images; the
    threads of as many other images prepare them or encode their regions meanwhile.
    """
    if segmenter.startswith("classical"):
        return os.cpu_count() or 1
    return 2 * images_per_batch(find_runtime(settings.runtime, settings.device, settings.dtype).runtime.device)


class LocalExecutor:
    """An `Executor` of threads: `fetch_threads` wait for Label Studio, `compute_threads` run the models."""

    def __init__(self, preannotator: Stages, *, compute_threads: int = 1, fetch_threads: int = FETCH_THREADS) -> None:
        self._preannotator = preannotator
        self._compute_threads, self._fetch_threads = compute_threads, fetch_threads
        self._max_running = compute_threads + fetch_threads + 1  # tasks whose images may be in memory

    def run(self, tasks: Iterable[BulkTask], is_stopping: Callable[[], bool]) -> Iterator[Outcome]:
        """Yield outcomes as they become ready; tasks that are running when `is_stopping()` becomes true get none."""
        done: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        fetching = ThreadPoolExecutor(self._fetch_threads, thread_name_prefix="fetch")
        computing = ThreadPoolExecutor(self._compute_threads, thread_name_prefix="compute")
        is_over = threading.Event()

        def compute(fetched: FetchedTask) -> None:
            if not is_over.is_set():
                done.put(self._preannotator.annotate(fetched))

        def submit_compute(future: "Future[FetchedTask | Outcome]") -> None:
            if is_over.is_set() or future.cancelled():
                return
            fetched = future.result()  # `fetch` does not raise
            if isinstance(fetched, Outcome):
                done.put(fetched)
            else:
                with suppress(RuntimeError):  # the pool was shut down meanwhile
                    computing.submit(compute, fetched)

        n_running = 0
        ahead = iter(tasks)
        is_more = True
        try:
            while (is_more or n_running) and not is_stopping():
                while is_more and n_running < self._max_running and not is_stopping():
                    task = next(ahead, None)
                    is_more = task is not None
                    if task is not None:
                        fetching.submit(self._preannotator.fetch, task).add_done_callback(submit_compute)
                        n_running += 1
                try:
                    outcome = done.get(timeout=POLL_S)
                except queue.Empty:
                    continue
                n_running -= 1
                yield outcome
        finally:
            is_over.set()
            fetching.shutdown(wait=False, cancel_futures=True)
            computing.shutdown(wait=False, cancel_futures=True)
