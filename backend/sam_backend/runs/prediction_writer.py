"""Writer of a run's predictions: each outcome is stored in Label Studio exactly once, also after failures.

A batch is recorded in the ledger before it is sent and after it is stored. After a crash or a lost answer, the writer
first looks in Label Studio for predictions of this run (`provenance`), and sends only the missing ones again.
"""

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from sam_backend.label_studio.client import PAGE_SIZE, LabelStudioApiError, LabelStudioClient
from sam_backend.label_studio.projects import project_details
from sam_backend.label_studio.retry_policy import RetryPolicy, StoppedError
from sam_backend.label_studio.stored_predictions import delete_prediction, import_predictions, predictions_of_task
from sam_backend.label_studio.task_pages import versions_of_predictions
from sam_backend.preannotation.outcome import Outcome
from sam_backend.preannotation.provenance import is_of_run, is_ours
from sam_backend.runs.ledger import SENDING, WRITTEN, now
from sam_backend.runs.rate import RateMeter
from sam_backend.runs.run_store import Run

logger = logging.getLogger(__name__)

BATCH_TASKS = 200  # each import lets Label Studio read all ids of the project, so few large ones are faster
BATCH_BYTES = 8_000_000
BATCH_AGE_S = 1.0  # a batch that is not full is sent after this time
MAX_QUEUED = 2 * BATCH_TASKS  # outcomes; when the queue is full, the stages wait
MAX_QUEUED_BYTES = 64_000_000
SETTLE_S = 5.0  # for Label Studio to finish storing what a killed process sent


class ConfigChangedError(Exception):
    """The project's labeling config has changed since the run started."""


class PredictionWriter:
    """Queue of outcomes, which a separate thread stores in Label Studio."""

    def __init__(
        self, api: LabelStudioClient, run: Run, retry_policy: RetryPolicy, is_stopping: Callable[[], bool]
    ) -> None:
        self._api, self._run, self._retry_policy, self._is_stopping = api, run, retry_policy, is_stopping
        self._project = run.configuration.project
        self._queue: queue.Queue[Outcome | None] = queue.Queue(MAX_QUEUED)
        self._queued_bytes = 0
        self._count_lock = threading.Lock()
        self._error: BaseException | None = None
        self._rate = RateMeter(run.ledger)
        self._thread = threading.Thread(target=self._run_thread, name="write-predictions", daemon=True)

    def start(self) -> None:
        """Start the thread; it first checks the tasks that an earlier process was sending."""
        self._thread.start()

    def put(self, outcome: Outcome) -> None:
        """Add an outcome to the queue; wait while the queue is full.

        Raises:
            StoppedError: the run was told to stop.
            Exception: the error that ended the thread.
        """
        while True:
            self._raise_error()
            if self._is_stopping():
                raise StoppedError
            if self._queued_bytes > MAX_QUEUED_BYTES:
                time.sleep(0.05)
                continue
            try:
                self._queue.put(outcome, timeout=0.1)
            except queue.Full:
                continue
            self._count(len(outcome.prediction or b""))
            return

    def _count(self, size: int) -> None:
        with self._count_lock:
            self._queued_bytes += size

    def finish(self) -> None:
        """Wait until all outcomes are stored.

        Raises:
            StoppedError: the run was told to stop.
            Exception: the error that ended the thread.
        """
        while self._thread.is_alive():
            try:
                self._queue.put(None, timeout=0.1)
                break
            except queue.Full:
                continue
        self._thread.join()
        self._raise_error()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _run_thread(self) -> None:
        try:
            self.settle()
            while batch := self._next_batch():
                self._store(batch)
                if batch[-1] is None:
                    return
        except BaseException as error:  # noqa: BLE001  # raised by `put` and `finish`
            self._error = error

    def _next_batch(self) -> list[Outcome | None]:
        """Return up to `BATCH_TASKS` outcomes; None at the end means that there are no more."""
        batch: list[Outcome | None] = []
        size, deadline = 0, None
        while len(batch) < BATCH_TASKS and size < BATCH_BYTES:
            if self._is_stopping():
                raise StoppedError
            left = 0.1 if deadline is None else min(0.1, deadline - time.monotonic())
            if left <= 0:
                break
            try:
                outcome = self._queue.get(timeout=left)
            except queue.Empty:
                continue
            batch.append(outcome)
            if outcome is None:
                break
            size += len(outcome.prediction or b"")
            self._count(-len(outcome.prediction or b""))
            deadline = deadline or time.monotonic() + BATCH_AGE_S
        return batch

    def _store(self, batch: Sequence[Outcome | None]) -> None:
        outcomes = [outcome for outcome in batch if outcome is not None]
        failed = {one.task_id: one.error or "" for one in outcomes if one.prediction is None}
        if failed:
            self._run.ledger.fail(failed)
        sent = [one for one in outcomes if one.prediction is not None]
        if sent:
            self._run.ledger.start_sending({one.task_id: sum(one.labels.values()) for one in sent})
            self._send(sent)
        self._rate.update(len(outcomes))

    def _send(self, outcomes: Sequence[Outcome]) -> None:
        """Send a batch that the ledger records as being sent."""
        texts = [one.prediction for one in outcomes if one.prediction is not None]
        try:
            created = self._retry_policy.call(
                partial(import_predictions, self._api, self._project, texts),
                is_repeatable=lambda error: (
                    error.status == 429
                ),  # after other errors the predictions may have been stored
            )
        except LabelStudioApiError as error:
            if error.status in (400, 413) and len(outcomes) > 1:  # nothing was stored: one prediction is invalid
                middle = len(outcomes) // 2
                self._send(outcomes[:middle])
                self._send(outcomes[middle:])
                return
            if error.status == 400:
                self._run.ledger.fail({outcomes[0].task_id: _refusal(error)})
                return
            if not error.is_transient:
                raise
            logger.warning(
                "could not store predictions of %d tasks: %s; checking which are stored", len(outcomes), error
            )
            self._send_missing(outcomes)
            return
        if created == len(outcomes):
            self._finish(outcomes)
        else:
            self._fail_dropped(outcomes, created)

    def _send_missing(self, outcomes: Sequence[Outcome]) -> None:
        """Store the predictions that are not stored yet, after a lost answer."""
        self._retry_policy.pause(SETTLE_S)
        stored = self._stored(outcomes)
        self._finish([one for one in outcomes if one.task_id in stored])
        missing = [one for one in outcomes if one.task_id not in stored]
        if missing:
            self._send(missing)

    def _fail_dropped(self, outcomes: Sequence[Outcome], created: int) -> None:
        """Record the tasks as failed whose predictions Label Studio silently dropped as invalid."""
        config = self._retry_policy.call(partial(project_details, self._api, self._project)).labeling_config
        stored = self._stored(outcomes)
        self._finish([one for one in outcomes if one.task_id in stored])
        dropped = [one.task_id for one in outcomes if one.task_id not in stored]
        if config != str(self._run.ledger.run()["labeling_config"]):
            self._run.ledger.back_to_pending(dropped)
            raise ConfigChangedError(
                f"the labeling config of project {self._project} was changed during the run, and {len(dropped)} "
                "predictions no longer fit; resume the run to continue with the new config"
            )
        logger.warning("Label Studio stored %d of %d predictions", created, len(outcomes))
        reason = "Label Studio refused the prediction: it does not fit the labeling config"
        self._run.ledger.fail(dict.fromkeys(dropped, reason))

    def _stored(self, outcomes: Sequence[Outcome]) -> set[int]:
        return {one.task_id for one in outcomes if self._is_stored(one.task_id)}

    def _is_stored(self, task: int) -> bool:
        found = self._retry_policy.call(partial(predictions_of_task, self._api, task))
        return any(is_of_run(prediction, self._run.id) for prediction in found)

    def _finish(self, outcomes: Sequence[Outcome]) -> None:
        labels: Counter[str] = Counter()
        for one in outcomes:
            labels.update(one.labels)
        self._finish_tasks([one.task_id for one in outcomes], labels)

    def _finish_tasks(self, tasks: Sequence[int], labels: Mapping[str, int]) -> None:
        if self._run.configuration.policy == "replace-own":
            for first in range(0, len(tasks), PAGE_SIZE):
                self._delete_older(tasks[first : first + PAGE_SIZE])
        self._run.ledger.finish(WRITTEN, tasks, labels)

    def _delete_older(self, tasks: Sequence[int]) -> None:
        """Delete the predictions of earlier runs of this product for these tasks; the new ones are stored already."""
        versions = self._retry_policy.call(partial(versions_of_predictions, self._api, self._project, tasks))
        for task in (task for task, found in versions.items() if any(is_ours({"model_version": v}) for v in found)):
            for prediction in self._retry_policy.call(partial(predictions_of_task, self._api, task)):
                if is_ours(prediction) and not is_of_run(prediction, self._run.id):
                    self._retry_policy.call(partial(delete_prediction, self._api, prediction["id"]))

    def settle(self) -> None:
        """Check the tasks that an earlier process was sending when it ended: finish the stored ones, repeat the others.

        Raises:
            StoppedError: the run was told to stop.
            LabelStudioApiError: Label Studio refuses, or does not answer for too long.
        """
        while True:
            sending = self._run.ledger.tasks_in(SENDING, 0, PAGE_SIZE)
            missing = [task for task in sending if not self._is_stored(task)]
            self._finish_tasks([task for task in sending if task not in missing], {})
            if not missing:
                if not sending:
                    return
                continue
            settling_s = SETTLE_S - (now() - float(self._run.ledger.run()["sent_at"]))
            if settling_s > 0:
                self._retry_policy.pause(settling_s)
            else:
                self._run.ledger.back_to_pending(missing)


def _refusal(error: LabelStudioApiError) -> str:
    if 'contains invalid "task" field' in str(error):
        return "the task is no longer in the project"
    return f"Label Studio refused the prediction: {error}"[:500]
