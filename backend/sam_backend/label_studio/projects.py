"""What a bulk run knows of a project, and the one thing it may change there."""

from dataclasses import dataclass

from sam_backend.label_studio.client import LabelStudioClient


@dataclass(frozen=True)
class ProjectDetails:
    """A project: `task_login` and `task_password` are for images behind a password."""

    id: int
    title: str
    labeling_config: str
    tasks: int
    model_version: str
    created_at: str = ""  # as Label Studio writes it; a project of another database has another
    task_login: str | None = None
    task_password: str | None = None


def project_details(api: LabelStudioClient, project: int) -> ProjectDetails:
    """A project as its settings are now."""
    item = api.call("GET", f"/api/projects/{project}/")
    return ProjectDetails(
        id=int(item["id"]),
        title=str(item["title"]),
        labeling_config=str(item["label_config"]),
        tasks=int(item.get("task_number") or 0),
        model_version=str(item.get("model_version") or ""),
        created_at=str(item.get("created_at") or ""),
        task_login=item.get("task_data_login") or None,
        task_password=item.get("task_data_password") or None,
    )


def show_predictions_of(api: LabelStudioClient, project: int, model_version: str) -> None:
    """Make the predictions of a model version the ones that people see when they open a task."""
    api.call("PATCH", f"/api/projects/{project}/", {"model_version": model_version})
