"""Prefetching: the image of an opened task is fetched and embedded before its first click."""

import logging
import os
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from sam_backend.errors import BackendError

logger = logging.getLogger(__name__)

MAX_WAITING = 8  # jobs; an annotator works on one task, so the oldest ones are dropped
MAX_THREADS = 16  # most of the time they wait for the network
MAX_THREADS_PER_ORIGIN = 2  # a slow server delays only its own images


@dataclass(frozen=True)
class PrefetchJob:
    """One image: `fetch` waits for the network, `embed` gets its result and computes."""

    name: str  # of the task, for the log
    origin: str  # server of the image
    fetch: Callable[[], Any]
    embed: Callable[[Any], object]


class _Turns:
    """A lock; of the threads that wait for it, the one with the highest number gets it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: set[int] = set()
        self._is_taken = False

    @contextmanager
    def take(self, number: int) -> Iterator[None]:
        """Hold the lock inside the block; numbers are different."""
        with self._changed:
            self._waiting.add(number)
            self._changed.wait_for(lambda: not self._is_taken and number == max(self._waiting))
            self._waiting.remove(number)
            self._is_taken = True
        try:
            yield
        finally:
            with self._changed:
                self._is_taken = False
                self._changed.notify_all()


class Prefetcher:
    """Runs jobs in the background, the newest first. A job that is waiting already is not added twice.

    Several jobs fetch at the same time, one embeds: of those whose images are there, the newest. Jobs start the
    threads, so the process may fork before the first.
    """

    def __init__(self, niceness: int = 0) -> None:
        """Run the jobs with a priority that is lower by `niceness`, 0 to 19, where the system has one per thread."""
        self._niceness = niceness
        self._waiting: OrderedDict[Hashable, tuple[int, PrefetchJob]] = OrderedDict()  # job and its number
        self._submitted = 0
        self._running: Counter[str] = Counter()  # jobs by origin
        self._changed = threading.Condition()
        self._idle = 0
        self._threads = 0
        self._embedding = _Turns()

    def submit(self, key: Hashable, job: PrefetchJob) -> None:
        """Run `job` in the background; return at once."""
        self.submit_all([(key, job)])

    def submit_all(self, jobs: Sequence[tuple[Hashable, PrefetchJob]]) -> None:
        """Run jobs in the background, the last one first; return at once."""
        with self._changed:
            for key, job in jobs:
                self._submitted += 1
                self._waiting[key] = self._submitted, job
                self._waiting.move_to_end(key)
            while len(self._waiting) > MAX_WAITING:
                _, (_, dropped) = self._waiting.popitem(last=False)
                logger.debug("prefetch of %s dropped: too many tasks are opened at the same time", dropped.name)
            for _ in range(min(len(self._waiting) - self._idle, MAX_THREADS - self._threads)):
                self._threads += 1
                threading.Thread(target=self._work, name=f"prefetch-{self._threads}", daemon=True).start()
            self._changed.notify(len(jobs))

    def _work(self) -> None:
        if self._niceness:
            with suppress(OSError, AttributeError):  # Linux: of this thread, and of the OpenMP threads that it starts
                thread_id = threading.get_native_id()
                niceness = os.getpriority(os.PRIO_PROCESS, thread_id) + self._niceness
                os.setpriority(os.PRIO_PROCESS, thread_id, min(niceness, 19))
        while True:
            with self._changed:
                self._idle += 1
                key = self._next()
                while key is None:
                    self._changed.wait()
                    key = self._next()
                self._idle -= 1
                number, job = self._waiting.pop(key)
                self._running[job.origin] += 1
            try:
                self._run(number, job)
            finally:
                with self._changed:
                    self._running -= Counter([job.origin])  # drops origins with 0
                    self._changed.notify()

    def _next(self) -> Hashable | None:
        """Return the key of the newest job whose origin has a free thread."""
        for key, (_, job) in reversed(self._waiting.items()):
            if self._running[job.origin] < MAX_THREADS_PER_ORIGIN:
                return key
        return None

    def _run(self, number: int, job: PrefetchJob) -> None:
        try:
            fetched = job.fetch()
            with self._embedding.take(number):
                job.embed(fetched)
        except BackendError as error:
            logger.warning("could not prefetch %s: %s", job.name, error)
        except Exception:  # the outermost call of a thread, which must go on with the next task
            logger.exception("could not prefetch %s", job.name)
