"""Pages of a project's tasks, so that a run never reads a whole project at once.

Source: label-studio 1.23.2, data_manager/api.py and data_manager/functions.py (fields of `query`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sam_backend.label_studio.client import PAGE_SIZE, Json, LabelStudioClient

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
    items = [_condition("id", "greater", after_id)]
    if without_annotations:
        items.append(_condition("total_annotations", "equal", 0))
    if without_predictions:
        items.append(_condition("total_predictions", "equal", 0))
    query = {"filters": {"conjunction": "and", "items": items}, "ordering": ["tasks:id"]}
    answer = _tasks(api, project, query, page_size=page_size)
    return TaskPage(tuple(map(_listed, answer["tasks"])), int(answer["total"]))


def stored_tasks_after(
    api: LabelStudioClient, project: int, after_id: int, *, with_predictions: bool, page_size: int
) -> tuple[list[StoredTask], int]:
    """Return the next tasks after a task id with all regions, and the number of these tasks and all after them."""
    query = {
        "filters": {"conjunction": "and", "items": [_condition("id", "greater", after_id)]},
        "ordering": ["tasks:id"],
    }
    include = STORED if with_predictions else STORED_ANNOTATIONS
    answer = _tasks(api, project, query, fields="all", include=include, page_size=page_size)
    found = [_stored(item) for item in answer["tasks"]]
    return found if with_predictions else [replace(one, predictions=()) for one in found], int(answer["total"])


def annotated_tasks_after(api: LabelStudioClient, project: int, after_id: int, page_size: int) -> list[StoredTask]:
    """Return the next tasks with an annotation after a task id, with all regions of annotations and predictions."""
    items = [_condition("id", "greater", after_id), _condition("total_annotations", "greater", 0)]
    query = {"filters": {"conjunction": "and", "items": items}, "ordering": ["tasks:id"]}
    answer = _tasks(api, project, query, fields="all", include=STORED, page_size=page_size)
    return [_stored(item) for item in answer["tasks"]]


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


def ids_of_page(api: LabelStudioClient, project: int, page: int, view: int | None = None) -> tuple[list[int], int]:
    """Return the task ids on a page of a project, or of a tab of its Data Manager, and the number of all tasks.

    The first page is 1.
    """
    parameters: dict[str, object] = {"project": project, "include": "id", "page": page, "page_size": PAGE_SIZE}
    if view is None:
        parameters["query"] = json.dumps({"ordering": ["tasks:id"]})
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


def _condition(column: str, operator: str, value: int) -> Json:
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": "Number", "value": value}


def _listed(item: Json) -> ListedTask:
    return ListedTask(
        id=int(item["id"]),
        data=item["data"],
        has_annotations=bool(item.get("total_annotations")),
        has_predictions=bool(item.get("total_predictions")),
        is_labeled=bool(item.get("is_labeled")),
    )
