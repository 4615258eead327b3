"""Embeds the image of a task while the person still looks for the object to click on."""

import logging
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from sam_backend.errors import BackendError

logger = logging.getLogger(__name__)

WAITING_AT_MOST = 8  # jobs; a person looks at one task, so older ones are dropped
WORKERS_AT_MOST = 16  # jobs begun; they wait for the network most of the time
PER_ORIGIN_AT_MOST = 2  # of them with images from one origin: one slow server holds up its own images only


@dataclass(frozen=True)
class PrefetchJob:
    """One image: `fetch` waits for the network, within the fetcher's time limit; `embed` computes with its result."""

    name: str  # of the task, for the log
    origin: str  # what serves the image
    fetch: Callable[[], Any]
    embed: Callable[[Any], object]


class Prefetcher:
    """Runs jobs in the background, the newest first; a job that waits already is not added twice.

    Several jobs fetch at the same time; one embeds. The threads start with the jobs, so that a process may fork before.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[Hashable, PrefetchJob] = OrderedDict()
        self._begun: Counter[str] = Counter()  # jobs by origin
        self._changed = threading.Condition()
        self._idle = 0
        self._threads = 0
        self._embedding = threading.Lock()

    def submit(self, key: Hashable, job: PrefetchJob) -> None:
        """Run `job` soon; returns at once."""
        with self._changed:
            self._waiting[key] = job
            self._waiting.move_to_end(key)
            while len(self._waiting) > WAITING_AT_MOST:
                _, dropped = self._waiting.popitem(last=False)
                logger.debug("prefetch: too many tasks opened at once, dropped %s", dropped.name)
            if self._idle < len(self._waiting) and self._threads < WORKERS_AT_MOST:
                self._threads += 1
                threading.Thread(target=self._work, name=f"prefetch-{self._threads}", daemon=True).start()
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                key = self._next()
                while key is None:
                    self._changed.wait()
                    key = self._next()
                self._idle -= 1
                job = self._waiting.pop(key)
                self._begun[job.origin] += 1
            try:
                self._run(job)
            finally:
                with self._changed:
                    self._begun -= Counter([job.origin])  # forgets origins at 0
                    self._changed.notify()

    def _next(self) -> Hashable | None:
        """The newest job whose origin has a worker left."""
        free = (key for key, job in reversed(self._waiting.items()) if self._begun[job.origin] < PER_ORIGIN_AT_MOST)
        return next(free, None)

    def _run(self, job: PrefetchJob) -> None:
        try:
            fetched = job.fetch()
            with self._embedding:
                job.embed(fetched)
        except BackendError as error:
            logger.warning("prefetch of %s: %s", job.name, error)
        except Exception:  # the edge of a background thread: it must go on with the next task
            logger.exception("prefetch of %s failed", job.name)
