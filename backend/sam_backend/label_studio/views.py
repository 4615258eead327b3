"""Tabs of a project's Data Manager. All members of the organization see them.

Source: label-studio 1.23.2, data_manager/api.py (`ViewAPI`), data_manager/serializers.py and functions.py (columns).
"""

from collections.abc import Sequence

from sam_backend.label_studio.client import Json, LabelStudioApiError, LabelStudioClient
from sam_backend.label_studio.task_conditions import TaskCondition

SCORE = "tasks:predictions_score"


def views_titled(api: LabelStudioClient, project: int, title: str) -> list[int]:
    """Return the ids of a project's tabs with this title."""
    found: list[Json] = api.call("GET", "/api/dm/views/", query={"project": project})
    return [int(view["id"]) for view in found if (view.get("data") or {}).get("title") == title]


def create_view(
    api: LabelStudioClient, project: int, title: str, conditions: Sequence[TaskCondition], *, needs_all: bool = True
) -> int:
    """Create a tab with the lowest prediction score first and the column of the score shown; return its id.

    Args:
        api: of Label Studio.
        project: the project's number.
        title: of the tab.
        conditions: which tasks the tab has.
        needs_all: whether a task must meet all conditions, or one of them.
    """
    columns = api.call("GET", "/api/dm/columns/", query={"project": project})["columns"]
    data = {
        "title": title,
        "type": "list",
        "target": "tasks",
        "ordering": [SCORE],
        "filters": {"conjunction": "and" if needs_all else "or", "items": [each.to_json() for each in conditions]},
        "hiddenColumns": {mode: _hidden(columns, mode) for mode in ("explore", "labeling")},
    }
    return int(api.call("POST", "/api/dm/views/", {"project": project, "data": data})["id"])


def delete_view(api: LabelStudioClient, view: int) -> bool:
    """Delete a tab and return whether it existed."""
    try:
        api.call("DELETE", f"/api/dm/views/{view}/")
    except LabelStudioApiError as error:
        if error.status == 404:
            return False
        raise
    return True


def _hidden(columns: Sequence[Json], mode: str) -> list[str]:
    """Return the columns that the Data Manager hides in a new tab, but not that of the score."""
    found = []
    for column in columns:
        parent = f"{column['parent']}." if column.get("parent") else ""
        name = f"{column.get('target', 'tasks')}:{parent}{column['id']}"
        if name != SCORE and not (column.get("visibility_defaults") or {}).get(mode, True):
            found.append(name)
    return found
