"""Pages of a project's tasks, so that a run never reads a whole project at once.

Source: label-studio 1.23.2, data_manager/api.py and data_manager/functions.py (fields of `query`).
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sam_backend.label_studio.client import PAGE_SIZE, Json, LabelStudioClient
from sam_backend.label_studio.retry_policy import RetryPolicy
from sam_backend.label_studio.task_conditions import TaskCondition

STORED_PAGE_SIZE = 20  # tasks with all their regions
# The fields of a `StoredTask`. They select the fields of annotations and predictions as well: core/settings/base.py,
# REST_FLEX_FIELDS
STORED_ANNOTATIONS = "id,data,annotations,result,was_cancelled,ground_truth,lead_time"
STORED = f"{STORED_ANNOTATIONS},predictions,score,model_version"


@dataclass(frozen=True)
class ListedTask:
    """A task in a listing; cloud addresses in `data` are unresolved."""

    id: int
    data: dict[str, Any]
    has_annotations: bool
    has_predictions: bool
    is_labeled: bool


@dataclass(frozen=True)
class StoredTask:
    """A task with its stored annotations and predictions, as Label Studio's API returns them."""

    id: int
    data: dict[str, Any]
    annotations: tuple[Json, ...]
    predictions: tuple[Json, ...]


@dataclass(frozen=True)
class TaskPage:
    """Tasks in the order of their ids; `left` is the number of these tasks and all after them."""

    tasks: tuple[ListedTask, ...]
    left: int


def tasks_after(
    api: LabelStudioClient,
    project: int,
    after_id: int,
    *,
    without_annotations: bool = False,
    without_predictions: bool = False,
    page_size: int = PAGE_SIZE,
) -> TaskPage:
    """Return the next tasks of a project after a task id; changes meanwhile move no task to another page."""
    query = _after(after_id, without_annotations=without_annotations, without_predictions=without_predictions)
    answer = _tasks(api, project, query, page_size=page_size)
    return TaskPage(tuple(map(_listed, answer["tasks"])), int(answer["total"]))


def stored_task_pages(
    api: LabelStudioClient,
    project: int,
    retry_policy: RetryPolicy,
    *,
    after_id: int = 0,
    only_with: str = "",
    with_predictions: bool = True,
) -> Iterator[tuple[list[StoredTask], int]]:
    """Yield the tasks of a project after a task id, page by page, each page with the number of tasks after it.

    Args:
        api: of Label Studio.
        project: the project's number.
        retry_policy: of its calls.
        after_id: the first task has a larger id.
        only_with: leave out tasks without these: `total_annotations`, or `cancelled_annotations` of those who skipped.
        with_predictions: read predictions, too.
    """
    wanted = [TaskCondition(only_with, "greater", 0)] if only_with else []
    include = STORED if with_predictions else STORED_ANNOTATIONS
    while True:
        query = _ordered([TaskCondition("id", "greater", after_id), *wanted])
        answer = retry_policy.call(
            partial(_tasks, api, project, query, fields="all", include=include, page_size=STORED_PAGE_SIZE)
        )
        tasks = [_stored(item) for item in answer["tasks"]]
        left = int(answer["total"]) - len(tasks)
        yield tasks if with_predictions else [replace(one, predictions=()) for one in tasks], left
        if left <= 0 or not tasks:
            return
        after_id = tasks[-1].id


def stored_tasks_of_ids(api: LabelStudioClient, project: int, ids: Sequence[int]) -> list[StoredTask]:
    """Return the tasks with these ids, at most `PAGE_SIZE`, with all regions of annotations and predictions."""
    answer = _tasks(api, project, _selected(ids), fields="all", include=STORED)
    return [_stored(item) for item in answer["tasks"]]


def _stored(item: Json) -> StoredTask:
    return StoredTask(
        int(item["id"]), item["data"], tuple(item.get("annotations") or ()), tuple(item.get("predictions") or ())
    )


def tasks_of_ids(api: LabelStudioClient, project: int, ids: Sequence[int]) -> list[ListedTask]:
    """Return the tasks with these ids, at most `PAGE_SIZE`; deleted ones are missing."""
    answer = _tasks(api, project, _selected(ids))
    return [_listed(item) for item in answer["tasks"]]


def ids_of_page(
    api: LabelStudioClient,
    project: int,
    page: int,
    view: int | None = None,
    *,
    without_annotations: bool = False,
    without_predictions: bool = False,
) -> tuple[list[int], int]:
    """Return the task ids on a page of a project, or of a tab of its Data Manager, and the number of all tasks.

    The first page is 1. A tab has its own conditions; the others are ignored.
    """
    parameters: dict[str, object] = {"project": project, "include": "id", "page": page, "page_size": PAGE_SIZE}
    if view is None:
        query = _after(0, without_annotations=without_annotations, without_predictions=without_predictions)
        parameters["query"] = json.dumps(query)
    else:
        parameters["view"] = view
    answer = api.call("GET", "/api/tasks/", query=parameters)
    return [int(item["id"]) for item in answer["tasks"]], int(answer["total"])


def versions_of_predictions(api: LabelStudioClient, project: int, ids: Sequence[int]) -> dict[int, set[str]]:
    """Return the model versions of the predictions of at most `PAGE_SIZE` tasks, without reading their regions."""
    answer = _tasks(api, project, _selected(ids), fields="all", include="id,predictions_model_versions")
    return {
        int(item["id"]): {version.strip() for version in str(item["predictions_model_versions"]).split(",")}
        for item in answer["tasks"]
    }


def regions_of_tasks(api: LabelStudioClient, project: int, ids: Sequence[int]) -> dict[int, list[Json]]:
    """Return all results of each task's annotations, or of its predictions if it has no annotation."""
    answer = _tasks(api, project, _selected(ids), fields="all")
    found: dict[int, list[Json]] = {}
    for item in answer["tasks"]:
        sources = item.get("annotations") or item.get("predictions") or []
        found[int(item["id"])] = [region for source in sources for region in source.get("result") or []]
    return found


def _tasks(
    api: LabelStudioClient,
    project: int,
    query: Json,
    fields: str = "task_only",
    include: str = "",
    page_size: int = PAGE_SIZE,
) -> Json:
    parameters: dict[str, object] = {
        "project": project,
        "fields": fields,
        "resolve_uri": "false",
        "page_size": page_size,
        "query": json.dumps(query),
    }
    if include:
        parameters["include"] = include
    return api.call("GET", "/api/tasks/", query=parameters)


def _selected(ids: Sequence[int]) -> Json:
    return {"selectedItems": {"all": False, "included": list(ids)}, "ordering": ["tasks:id"]}


def _after(after_id: int, *, without_annotations: bool, without_predictions: bool) -> Json:
    """Return the query for the tasks after a task id that meet the conditions."""
    conditions = [TaskCondition("id", "greater", after_id)]
    if without_annotations:
        conditions.append(TaskCondition("total_annotations", "equal", 0))
    if without_predictions:
        conditions.append(TaskCondition("total_predictions", "equal", 0))
    return _ordered(conditions)


def _ordered(conditions: Sequence[TaskCondition]) -> Json:
    """Return the query for the tasks that meet all conditions, in the order of their ids."""
    items = [each.to_json() for each in conditions]
    return {"filters": {"conjunction": "and", "items": items}, "ordering": ["tasks:id"]}


def _listed(item: Json) -> ListedTask:
    return ListedTask(
        id=int(item["id"]),
        data=item["data"],
        has_annotations=bool(item.get("total_annotations")),
        has_predictions=bool(item.get("total_predictions")),
        is_labeled=bool(item.get("is_labeled")),
    )
