"""Undo of a run: delete the predictions that it wrote, and no others."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from sam_backend.label_studio.client import LabelStudioClient
from sam_backend.label_studio.retry_policy import RetryPolicy, StoppedError
from sam_backend.label_studio.stored_predictions import delete_prediction, predictions_of_task
from sam_backend.preannotation.provenance import is_of_run
from sam_backend.runs.ledger import UNDONE, WRITTEN
from sam_backend.runs.run_store import Run

PARALLEL_REQUESTS = 4  # Label Studio is threaded, but SQLite writes one at a time
CHUNK_TASKS = 40  # recorded in the ledger together


def undo_run(run: Run, api: LabelStudioClient, retry_policy: RetryPolicy, is_stopping: Callable[[], bool]) -> None:
    """Delete the run's predictions task by task; continue an undo that was interrupted.

    Raises:
        LabelStudioApiError: Label Studio refuses, or does not answer for too long.
        StoppedError: the work was told to stop.
    """

    def undo_task(task: int) -> None:
        for prediction in retry_policy.call(partial(predictions_of_task, api, task)):
            if is_of_run(prediction, run.id):
                retry_policy.call(partial(delete_prediction, api, int(prediction["id"])))

    after = 0
    with ThreadPoolExecutor(PARALLEL_REQUESTS, thread_name_prefix="undo") as pool:
        while tasks := run.ledger.tasks_in(WRITTEN, after, CHUNK_TASKS):
            if is_stopping():
                raise StoppedError
            list(pool.map(undo_task, tasks))
            run.ledger.finish(UNDONE, tasks)
            after = tasks[-1]
