"""What travels through a run: a task in, an outcome out."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class LabeledBox:
    """A rectangle that is already in a task, with its labels; percent, as Label Studio stores it."""

    to_name: str
    labels: tuple[str, ...]
    x: float
    y: float
    width: float
    height: float
    rotation: float = 0.0
    item_index: int | None = None


@dataclass(frozen=True)
class BulkTask:
    """A task of the run; `boxes` are filled for the detector `boxes` only. It must survive pickling (Ray)."""

    id: int
    data: Mapping[str, Any]
    boxes: tuple[LabeledBox, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of a task: a prediction as the JSON that the import endpoint takes, or an error."""

    task_id: int
    prediction: bytes | None = None  # a JSON object {"task", "result", "score", "model_version"}
    error: str | None = None  # for people: what is wrong with the image or the task; no path, no token
    labels: Mapping[str, int] = field(default_factory=dict)  # label -> objects in the prediction


class Executor(Protocol):
    """Runs tasks through the stages; outcomes come in any order, each task exactly one."""

    def run(self, tasks: Iterable[BulkTask], is_stopping: Callable[[], bool]) -> Iterator[Outcome]:
        """The outcomes, as they are ready; `tasks` is read only a bounded number ahead of what was yielded.

        Once `is_stopping()` is true no new task is begun; tasks without outcome stay to be done.
        """
