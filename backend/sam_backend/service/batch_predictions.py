"""Predictions for "Retrieve predictions": what can be made before Label Studio gives up; the rest is for a run.

Label Studio waits 100 s for the whole batch and stores nothing before all is there. An item for each task must come
back; `[]` for a task stores nothing for it.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTimeError
from typing import Any

import orjson

from sam_backend.preannotation.local_executor import LocalExecutor
from sam_backend.preannotation.outcome import BulkTask
from sam_backend.preannotation.preannotator import Preannotator
from sam_backend.protocol.requests import Task

logger = logging.getLogger(__name__)
MAX_KEPT = 4  # pre-annotators of different projects that stay loaded
ASKED_TWICE_S = 5.0  # Label Studio asks twice when a task is opened for the first time
Answer = orjson.Fragment | list[Any]  # a prediction's JSON as it is, or nothing


class BatchPredictions:
    """Answers batches within a deadline, one at a time."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Future[Preannotator]] = OrderedDict()
        self._at_work = threading.Lock()
        self._lock = threading.Lock()
        self._asked: dict[tuple[int, str], float] = {}  # opened tasks and versions -> when that counts no more

    def answer(
        self, tasks: Sequence[Task], version: str, key: str, load: Callable[[], Preannotator], deadline_s: float
    ) -> tuple[list[Answer], tuple[int, ...]]:
        """An item for each task, in their order, and the ids of those that were not ready in time.

        Args:
            tasks: those that have a prediction of `version` already get none.
            version: the model_version of the answers.
            key: what tells one pre-annotator from another.
            load: makes it; done once a key, in a thread.
            deadline_s: for all of them.

        Raises:
            Exception: whatever `load` raises.
        """
        end = time.monotonic() + deadline_s
        wanted = [
            BulkTask(task.id, task.data) for task in tasks if task.id is not None and version not in task.versions
        ]
        if len(tasks) == 1:
            wanted = [task for task in wanted if self._is_first(task.id, version, end)]
        found: dict[int, Answer] = {}
        if wanted and self._at_work.acquire(timeout=deadline_s):
            try:
                found = self._found(wanted, self._loading(key, load), end)
            finally:
                self._at_work.release()
        late = tuple(task.id for task in wanted if task.id not in found)
        return [[] if task.id is None else found.get(task.id, []) for task in tasks], late

    def _found(self, wanted: list[BulkTask], loading: "Future[Preannotator]", end: float) -> dict[int, Answer]:
        found: dict[int, Answer] = {}
        try:
            preannotator = loading.result(timeout=max(0.0, end - time.monotonic()))
        except NotInTimeError:
            return found
        for outcome in LocalExecutor(preannotator).run(wanted, lambda: time.monotonic() > end):
            found[outcome.task_id] = [] if outcome.prediction is None else orjson.Fragment(outcome.prediction)
            if outcome.error is not None:
                logger.warning("task %d: %s", outcome.task_id, outcome.error)
        return found

    def _is_first(self, task: int, version: str, end: float) -> bool:
        """Whether nobody else asks for the same task at this moment."""
        now = time.monotonic()
        with self._lock:
            self._asked = {asked: until for asked, until in self._asked.items() if until > now}
            if (task, version) in self._asked:
                return False
            self._asked[task, version] = end + ASKED_TWICE_S
            return True

    def _loading(self, key: str, load: Callable[[], Preannotator]) -> "Future[Preannotator]":
        with self._lock:
            known = self._kept.get(key)
            if known is not None and not (known.done() and known.exception() is not None):
                self._kept.move_to_end(key)
                return known
            future: Future[Preannotator] = Future()
            self._kept[key] = future
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)

        def run() -> None:
            try:
                future.set_result(load())
            except Exception as error:  # noqa: BLE001  # the edge of a thread: who waits is told
                future.set_exception(error)

        threading.Thread(target=run, name="load-preannotator", daemon=True).start()
        return future
