"""The task that a run gives to an executor, and the outcome that it gets back."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from sam_backend.errors import BackendError
from sam_backend.protocol.regions import PromptRegion

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class BulkTask:
    """A task without prompts. It must survive pickling (Ray)."""

    id: int
    data: Mapping[str, Any]
    boxes: tuple[PromptRegion, ...] = ()  # the task's rectangles, only for the detector `boxes`


@dataclass(frozen=True)
class Outcome:
    """The prediction for a task, or the error that prevented it."""

    task_id: int
    prediction: bytes | None = None  # a JSON object {"task", "result", "score", "model_version"}
    error: str | None = None  # for users: the problem of the image or the task; no path, no token
    labels: Mapping[str, int] = field(default_factory=dict)  # label -> objects in the prediction


def outcome_of(task: BulkTask, stage: Callable[[], T]) -> T | Outcome:
    """Return the result of a stage of a task's work, or its error: a task that fails does not stop the others."""
    try:
        return stage()
    except BackendError as error:
        return Outcome(task.id, error=str(error))
    except Exception:  # the outermost call of a worker: one task's error must not end the run
        logger.exception("task %d failed", task.id)
        return Outcome(task.id, error="internal error; see the log")


class Executor(Protocol):
    """Pre-annotates tasks. Each task has exactly one outcome; outcomes come in any order."""

    def run(self, tasks: Iterable[BulkTask], is_stopping: Callable[[], bool]) -> Iterator[Outcome]:
        """Yield outcomes as they become ready; read `tasks` only a bounded number ahead of them.

        When `is_stopping()` is true, no further task is started; tasks without an outcome remain pending.
        """
