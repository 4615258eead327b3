"""Takes back what a run wrote, and nothing else."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from sam_backend.label_studio.client import LabelStudioClient
from sam_backend.label_studio.retry_policy import RetryPolicy, StoppedError
from sam_backend.label_studio.stored_predictions import delete_prediction, predictions_of_task
from sam_backend.preannotation.provenance import is_of_run
from sam_backend.runs.ledger import UNDONE, WRITTEN
from sam_backend.runs.run_store import Run

AT_ONCE = 4  # requests; Label Studio is threaded, SQLite writes one at a time
CHUNK = 40  # tasks between two notes in the ledger


def undo_run(run: Run, api: LabelStudioClient, patience: RetryPolicy, is_stopping: Callable[[], bool]) -> None:
    """Delete the run's predictions, task after task; goes on where an earlier undo was interrupted.

    Raises:
        LabelStudioApiError: Label Studio refuses, or is out of reach for too long.
        StoppedError: the work is to end.
    """

    def undo_task(task: int) -> None:
        for prediction in patience.call(partial(predictions_of_task, api, task)):
            if is_of_run(prediction, run.id):
                patience.call(partial(delete_prediction, api, int(prediction["id"])))

    after = 0
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="undo") as pool:
        while tasks := run.ledger.tasks_in(WRITTEN, after, CHUNK):
            if is_stopping():
                raise StoppedError
            list(pool.map(undo_task, tasks))
            run.ledger.finish(UNDONE, tasks)
            after = tasks[-1]
