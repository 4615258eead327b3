"""Projects of Label Studio: listing, settings, and the model version that annotators see.

Source: label-studio 1.23.2, projects/api.py.
"""

from dataclasses import dataclass

from sam_backend.label_studio.client import PAGE_SIZE, Json, LabelStudioClient

MAX_PAGES = 1000


@dataclass(frozen=True)
class ProjectDetails:
    """A project's settings; `task_login` and `task_password` are for images behind a password."""

    id: int
    title: str
    labeling_config: str = ""  # XML
    tasks: int = 0
    model_version: str = ""
    created_at: str = ""  # in Label Studio's format; a project of another database has another
    task_login: str | None = None
    task_password: str | None = None

    @classmethod
    def from_json(cls, item: Json) -> "ProjectDetails":
        """Parse a project as Label Studio's API returns it."""
        return cls(
            id=int(item["id"]),
            title=str(item["title"]),
            labeling_config=str(item.get("label_config") or ""),
            tasks=int(item.get("task_number") or 0),
            model_version=str(item.get("model_version") or ""),
            created_at=str(item.get("created_at") or ""),
            task_login=item.get("task_data_login") or None,
            task_password=item.get("task_data_password") or None,
        )


def projects(api: LabelStudioClient) -> list[ProjectDetails]:
    """Return all projects that the token's user may see.

    Raises:
        LabelStudioApiError: Label Studio refuses, or does not answer.
    """
    found: list[ProjectDetails] = []
    for page in range(1, MAX_PAGES + 1):
        answer = api.call("GET", "/api/projects/", query={"page": page, "page_size": PAGE_SIZE})
        found += map(ProjectDetails.from_json, answer["results"])
        if len(found) >= answer["count"] or not answer["results"]:
            break
    return found


def newest_projects(api: LabelStudioClient, number: int) -> list[ProjectDetails]:
    """Return up to `number` projects, the last created first; `number` is at most `PAGE_SIZE`.

    Raises:
        LabelStudioApiError: Label Studio refuses, or does not answer.
    """
    answer = api.call("GET", "/api/projects/", query={"page_size": number, "ordering": "-created_at"})
    return [ProjectDetails.from_json(item) for item in answer["results"]]


def project_details(api: LabelStudioClient, project: int) -> ProjectDetails:
    """Return one project with its present settings.

    Raises:
        LabelStudioApiError: Label Studio refuses, does not answer, or has no such project (404).
    """
    return ProjectDetails.from_json(api.call("GET", f"/api/projects/{project}/"))


def show_predictions_of(api: LabelStudioClient, project: int, model_version: str) -> None:
    """Make the predictions of a model version the ones that annotators see when they open a task."""
    api.call("PATCH", f"/api/projects/{project}/", {"model_version": model_version})
