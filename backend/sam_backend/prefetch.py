"""Embeds the image of a task while the person still looks for the object to click on."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable

from sam_backend.errors import BackendError

logger = logging.getLogger(__name__)

WAITING_AT_MOST = 8  # jobs; a person looks at one task, so older ones are dropped


class Prefetcher:
    """Runs jobs one at a time in the background, the newest first; a job that waits already is not added twice.

    The thread starts with the first job, so that a process may fork before.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, Callable[[], object]] = OrderedDict()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def submit(self, key: str, job: Callable[[], object]) -> None:
        """Run `job` soon; returns at once."""
        with self._changed:
            self._waiting[key] = job
            self._waiting.move_to_end(key)
            while len(self._waiting) > WAITING_AT_MOST:
                dropped, _ = self._waiting.popitem(last=False)
                logger.debug("prefetch: too many tasks opened at once, dropped %s", dropped)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="prefetch", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                key, job = self._waiting.popitem(last=True)
            try:
                job()
            except BackendError as error:
                logger.warning("prefetch of %s: %s", key, error)
            except Exception:  # the edge of a background thread: it must go on with the next task
                logger.exception("prefetch of %s failed", key)
