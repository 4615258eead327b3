"""Loaded pre-annotators of the projects that were used last."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future

from sam_backend.preannotation.preannotator import Preannotator

MAX_LOADED = 4


class PreannotatorCache:
    """Load each pre-annotator once, in a thread, and keep the ones used last; threads may share it."""

    def __init__(self, max_loaded: int = MAX_LOADED) -> None:
        self._max_loaded = max_loaded
        self._futures: OrderedDict[Hashable, Future[Preannotator]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, load: Callable[[], Preannotator]) -> "Future[Preannotator]":
        """Return the pre-annotator of `key`; if it is not there or failed to load, start `load`."""
        with self._lock:
            known = self._futures.get(key)
            if known is not None and not (known.done() and known.exception() is not None):
                self._futures.move_to_end(key)
                return known
            future: Future[Preannotator] = Future()
            self._futures[key] = future
            self._futures.move_to_end(key)
            while len(self._futures) > self._max_loaded:
                self._futures.popitem(last=False)

        def run() -> None:
            try:
                future.set_result(load())
            except Exception as error:  # noqa: BLE001  # the edge of a thread: `future.result` raises it
                future.set_exception(error)

        threading.Thread(target=run, name="load-preannotator", daemon=True).start()
        return future
