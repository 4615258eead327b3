"""Prefetching: the image of an opened task is fetched and embedded before its first click."""

import logging
import os
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
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


class Prefetcher:
    """Runs jobs in the background, the newest first. A job that is waiting already is not added twice.

    Several jobs fetch at the same time, one embeds. Jobs start the threads, so the process may fork before the first.
    """

    def __init__(self, niceness: int = 0) -> None:
        """Run the jobs with a priority that is lower by `niceness`, 0 to 19, where the system has one per thread."""
        self._niceness = niceness
        self._waiting: OrderedDict[Hashable, PrefetchJob] = OrderedDict()
        self._running: Counter[str] = Counter()  # jobs by origin
        self._changed = threading.Condition()
        self._idle = 0
        self._threads = 0
        self._embedding = threading.Lock()

    def submit(self, key: Hashable, job: PrefetchJob) -> None:
        """Run `job` in the background; return at once."""
        with self._changed:
            self._waiting[key] = job
            self._waiting.move_to_end(key)
            while len(self._waiting) > MAX_WAITING:
                _, dropped = self._waiting.popitem(last=False)
                logger.debug("prefetch of %s dropped: too many tasks are opened at the same time", dropped.name)
            if self._idle < len(self._waiting) and self._threads < MAX_THREADS:
                self._threads += 1
                threading.Thread(target=self._work, name=f"prefetch-{self._threads}", daemon=True).start()
            self._changed.notify()

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
                job = self._waiting.pop(key)
                self._running[job.origin] += 1
            try:
                self._run(job)
            finally:
                with self._changed:
                    self._running -= Counter([job.origin])  # drops origins with 0
                    self._changed.notify()

    def _next(self) -> Hashable | None:
        """Return the key of the newest job whose origin has a free thread."""
        for key, job in reversed(self._waiting.items()):
            if self._running[job.origin] < MAX_THREADS_PER_ORIGIN:
                return key
        return None

    def _run(self, job: PrefetchJob) -> None:
        try:
            fetched = job.fetch()
            with self._embedding:
                job.embed(fetched)
        except BackendError as error:
            logger.warning("could not prefetch %s: %s", job.name, error)
        except Exception:  # the outermost call of a thread, which must go on with the next task
            logger.exception("could not prefetch %s", job.name)
