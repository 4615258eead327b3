"""Source of a run's tasks: listed in pages, recorded in the ledger, selected by filter and policy.

A selection that written predictions could change (a tab, a list of ids, a sample) is listed completely first, as ids
only. A whole project is read page by page, each page after the last task id of the one before.
"""

from collections.abc import Iterator, Sequence

from sam_backend.errors import BadRequestError
from sam_backend.label_studio.client import PAGE_SIZE, Json, LabelStudioClient
from sam_backend.label_studio.retry_policy import RetryPolicy
from sam_backend.label_studio.task_pages import (
    ListedTask,
    ids_of_page,
    regions_of_tasks,
    tasks_after,
    tasks_of_ids,
    versions_of_predictions,
)
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.preannotation.outcome import BulkTask
from sam_backend.protocol.regions import PromptRegion, RotatedRectangle, prompt_regions_from_json
from sam_backend.runs.ledger import PENDING, SKIPPED
from sam_backend.runs.run_store import Run

TASK_DELETED = "the task is no longer in the project"


def ids_on_page(api: LabelStudioClient, configuration: RunConfiguration, page: int) -> tuple[list[int], int]:
    """Return the ids on a page of the tasks that a run is asked for, from 1, and the number of all of them."""
    wanted = configuration.filter
    return ids_of_page(
        api,
        configuration.project,
        page,
        wanted.view,
        without_annotations=wanted.without_annotations,
        without_predictions=wanted.without_predictions,
    )


class TaskSource:
    """Iterable of the run's remaining tasks, each once."""

    def __init__(self, api: LabelStudioClient, run: Run, version: str, retry_policy: RetryPolicy) -> None:
        """`version` is the model_version of the predictions for which the policy `skip` skips a task."""
        self._api, self._run, self._version, self._retry_policy = api, run, version, retry_policy
        self._project, self._filter = run.configuration.project, run.configuration.filter

    def __iter__(self) -> Iterator[BulkTask]:
        if not self._is_listed and self._is_fixed:
            self._list_all_ids()
        for ids in self._pending_ids():
            found = self._tasks_with_ids(ids)
            here = {task.id for task in found}
            self._run.ledger.fail({task: TASK_DELETED for task in ids if task not in here})
            unwanted = [task.id for task in found if not self._is_wanted(task)]
            self._run.ledger.finish(SKIPPED, unwanted)
            yield from self._selected([task for task in found if self._is_wanted(task)])
        while not self._is_listed:
            yield from self._selected(self._list_page())

    def _tasks_with_ids(self, ids: Sequence[int]) -> list[ListedTask]:
        return self._retry_policy.call(lambda: tasks_of_ids(self._api, self._project, ids))

    def _ids_on_page(self, page: int) -> tuple[list[int], int]:
        return self._retry_policy.call(lambda: ids_on_page(self._api, self._run.configuration, page))

    @property
    def _is_listed(self) -> bool:
        return bool(self._run.ledger.run()["is_listed"])

    @property
    def _is_fixed(self) -> bool:
        return bool(self._filter.view or self._filter.ids or self._filter.sample)

    def _list_all_ids(self) -> None:
        """Record the ids of all selected tasks; an interrupted listing starts again."""
        wanted, ledger = self._filter, self._run.ledger
        if wanted.ids:
            ids = wanted.ids if wanted.sample is None else even_sample(wanted.ids, wanted.sample)
            ledger.list_tasks(ids, is_listed=True)
            return
        page, total = 1, None
        while total is None or (page - 1) * PAGE_SIZE < total:
            first = (page - 1) * PAGE_SIZE
            if total is None or wanted.sample is None or sampled_in(first, first + PAGE_SIZE, total, wanted.sample):
                ids_here, total = self._ids_on_page(page)
                if wanted.sample is not None:
                    positions = sampled_in(first, first + len(ids_here), total, wanted.sample)
                    ids_here = [ids_here[position - first] for position in positions]
                ledger.list_tasks(ids_here, is_listed=False)
            page += 1
        ledger.list_tasks((), is_listed=True)

    def _pending_ids(self) -> Iterator[list[int]]:
        after = 0
        while ids := self._run.ledger.tasks_in(PENDING, after, PAGE_SIZE):
            after = ids[-1]
            yield ids

    def _list_page(self) -> list[ListedTask]:
        row = self._run.ledger.run()
        after = int(row["last_listed"])
        page = self._retry_policy.call(
            lambda: tasks_after(
                self._api,
                self._project,
                after,
                without_annotations=self._filter.without_annotations,
                without_predictions=self._filter.without_predictions,
            )
        )
        wanted = [task for task in page.tasks if self._is_wanted(task)]
        left = page.left - len(page.tasks)
        self._run.ledger.list_tasks(
            [task.id for task in wanted],
            last_listed=page.tasks[-1].id if page.tasks else after,
            is_listed=left <= 0,
            left=left,
        )
        return wanted

    def _is_wanted(self, task: ListedTask) -> bool:
        wanted = self._filter
        if wanted.state != "all" and task.is_labeled != (wanted.state == "labeled"):
            return False
        if wanted.without_annotations and task.has_annotations:
            return False
        return not (wanted.without_predictions and task.has_predictions)

    def _selected(self, tasks: list[ListedTask]) -> Iterator[BulkTask]:
        """Yield the tasks that the policy does not skip, with their boxes if the detector needs them."""
        done = self._with_this_version(tasks) if self._run.configuration.policy == "skip" else set()
        self._run.ledger.finish(SKIPPED, [task.id for task in tasks if task.id in done])
        left = [task for task in tasks if task.id not in done]
        boxes = self._boxes(left)
        for task in left:
            yield BulkTask(task.id, task.data, boxes.get(task.id, ()))

    def _with_this_version(self, tasks: Sequence[ListedTask]) -> set[int]:
        ids = [task.id for task in tasks if task.has_predictions]
        if not ids:
            return set()
        found = self._retry_policy.call(lambda: versions_of_predictions(self._api, self._project, ids))
        return {task for task, versions in found.items() if self._version in versions}

    def _boxes(self, tasks: Sequence[ListedTask]) -> dict[int, tuple[PromptRegion, ...]]:
        if self._run.configuration.detector != "boxes" or not tasks:
            return {}
        ids = [task.id for task in tasks]
        found = self._retry_policy.call(lambda: regions_of_tasks(self._api, self._project, ids))
        return {task: boxes_from_results(results) for task, results in found.items()}


def boxes_from_results(results: list[Json]) -> tuple[PromptRegion, ...]:
    """Return the rectangles among a task's results; none if the results cannot be read."""
    try:
        regions = prompt_regions_from_json(results)
    except BadRequestError:
        return ()
    return tuple(region for region in regions if isinstance(region.shape, RotatedRectangle))


def even_sample(ids: Sequence[int], number: int) -> tuple[int, ...]:
    """Return `number` of the ids, evenly spread; all of them if there are fewer."""
    return tuple(ids[position] for position in sampled_in(0, len(ids), len(ids), number))


def sampled_in(first: int, end: int, total: int, number: int) -> list[int]:
    """Return the positions from `first` up to `end` (excluded) in an even sample of `number` of `total` positions."""
    number = min(number, total)
    positions = (sample * total // number for sample in range(first * number // max(total, 1), number))
    found = []
    for position in positions:
        if position >= end:
            break
        if position >= first:
            found.append(position)
    return found
