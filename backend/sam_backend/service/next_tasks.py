"""The tasks that an annotator opens next: their images are embedded while the annotator works on the present task.

Requests of Label Studio 1.23.2 do not tell the order in which an annotator gets the tasks. The assumption is the
default of the label stream and the Data Manager: the project's tasks in the order of their ids, without those that are
labeled already. With random sampling, or in a tab with another order, the guess is wrong and costs idle time only.

Source: label-studio 1.23.2, projects/functions/next_task.py.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sam_backend.bounded_cache import BoundedCache
from sam_backend.embeddings.memory import EmbeddingCache
from sam_backend.errors import BackendError
from sam_backend.images.fetch import ImageCredentials
from sam_backend.interactive.prefetch import Prefetcher, PrefetchJob
from sam_backend.interactive.task_predictor import TaskPredictor, embedding_job, image_request
from sam_backend.label_studio.client import LabelStudioApiError, LabelStudioClient
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.label_studio.task_pages import ListedTask, tasks_after
from sam_backend.protocol.labeling_config import LabelingConfig
from sam_backend.protocol.requests import Task
from sam_backend.segmenter.request_model import RequestModel

logger = logging.getLogger(__name__)

NICENESS = 10  # below clicks (0), above runs (19)
TIMEOUT_S = 5.0  # for Label Studio to list tasks
TASKS_PER_TASK = 4  # listed for each task that is wanted: some are labeled, and the rest serves the next openings
LISTING_S = 60.0  # time for which a listing is used
MAX_PROJECTS = 64
MAX_LISTED_BYTES = 16 << 20  # data of all listed tasks
MAX_OPENED = 256  # tasks whose next ones are not looked for again at each click


@dataclass(frozen=True)
class _Listing:
    """Tasks of a project after the task `after`, in the order of their ids."""

    after: int
    tasks: tuple[ListedTask, ...]
    is_last: bool  # no task follows
    until: float

    def following(self, task: int) -> tuple[ListedTask, ...] | None:
        """Return the listed tasks after a task; None if the listing does not tell."""
        if task == self.after or any(one.id == task for one in self.tasks):
            return tuple(one for one in self.tasks if one.id > task)
        return None


class NextTasks:
    """Embeds the next tasks of each annotator in the background; threads may share it."""

    def __init__(
        self,
        number: int,
        credentials: LabelStudioCredentials,
        predictor: TaskPredictor,
        cache: EmbeddingCache[Any],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            number: tasks to embed after the opened one; 0 switches this off.
            credentials: of Label Studio, whose API lists the tasks.
            predictor: fetches and embeds images.
            cache: its size limits `number`, so that the opened task stays in it.
            clock: seconds.
        """
        self._number, self._credentials, self._predictor, self._cache = number, credentials, predictor, cache
        self._client = LabelStudioClient(credentials, TIMEOUT_S)
        self._clock = clock
        self._prefetcher = Prefetcher(niceness=NICENESS)
        self._listings: BoundedCache[int, _Listing] = BoundedCache(MAX_PROJECTS, MAX_LISTED_BYTES)
        self._opened: BoundedCache[tuple[int, int], bool] = BoundedCache(MAX_OPENED, MAX_OPENED)
        self._lock = threading.Lock()  # one API call at a time

    def task_opened(
        self, task: Task, labeling_config: str, credentials: ImageCredentials, model: Callable[[], RequestModel]
    ) -> None:
        """Embed the tasks after an opened one with the project's model; return at once."""
        if task.id is None or task.project_id is None or not self._number or not self._credentials.is_known:
            return
        self._opened.put((task.project_id, task.id), True, 1)
        project, after = task.project_id, task.id
        self._prefetcher.submit(
            ("tasks after", project, after),
            PrefetchJob(
                f"the tasks after task {after}",
                "Label Studio's API",
                lambda: self._next(project, after),
                lambda found: self._embed(found, project, labeling_config, credentials, model),
            ),
        )

    def task_clicked(
        self, task: Task, labeling_config: str, credentials: ImageCredentials, model: Callable[[], RequestModel]
    ) -> None:
        """Do the same for a task with a click, unless it was opened before: tasks with predictions open silently."""
        if task.id is None or task.project_id is None or (task.project_id, task.id) in self._opened:
            return
        self.task_opened(task, labeling_config, credentials, model)

    def _next(self, project: int, after: int) -> tuple[ListedTask, ...]:
        """Return the next tasks, those that are not labeled before the others; from a stored listing if possible."""
        number = self._affordable()
        if not number:
            return ()
        with self._lock:
            listing = self._listings.get(project)
            known = listing.following(after) if listing is not None and self._clock() < listing.until else None
            if listing is None or known is None or (sum(not one.is_labeled for one in known) < number > 0):
                if listing is None or known is None or not listing.is_last:
                    listing = self._listed(project, after, number)
                known = listing.following(after) or ()
        return tuple(sorted(known, key=lambda one: one.is_labeled))[:number]

    def _listed(self, project: int, after: int, number: int) -> _Listing:
        size = TASKS_PER_TASK * number
        try:
            page = tasks_after(self._client, project, after, page_size=size)
        except (LabelStudioApiError, KeyError, TypeError, ValueError) as error:
            raise BackendError(f"could not list the tasks of project {project}: {error}") from error
        listing = _Listing(after, page.tasks, page.left <= len(page.tasks), self._clock() + LISTING_S)
        self._listings.put(project, listing, sum(len(repr(one.data)) for one in page.tasks) + 1000)
        return listing

    def _affordable(self) -> int:
        """Return the number of tasks whose embeddings fit into memory beside the opened task's and one more."""
        held = self._cache.statistics()
        if not held.entries:
            return self._number
        fitting = held.bytes_allowed // max(1, held.bytes_held // held.entries)
        return max(0, min(self._number, fitting - 2))

    def _embed(
        self,
        found: tuple[ListedTask, ...],
        project: int,
        labeling_config: str,
        credentials: ImageCredentials,
        model: Callable[[], RequestModel],
    ) -> None:
        """Submit the images; the nearest task last, since the prefetcher begins with the last job."""
        config = LabelingConfig.from_xml(labeling_config)
        jobs = []
        for listed in reversed(found):
            task = Task(listed.id, project, listed.data)
            try:
                image = image_request(task, config, credentials)
                if self._predictor.is_embedded(image, model()):
                    continue
            except BackendError as error:
                logger.info("could not prefetch %s: %s", task.name, error)
                continue
            jobs.append((image, embedding_job(self._predictor, task, image, model)))
        self._prefetcher.submit_all(jobs)
