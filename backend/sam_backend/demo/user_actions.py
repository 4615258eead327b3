"""Actions of a Label Studio user as API calls: log in, create a project, upload images, click.

Source: label-studio 1.23.2, its API reference and the answers of its server.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import urllib3

from sam_backend.label_studio.client import Json, LabelStudioApiError, LabelStudioClient
from sam_backend.label_studio.projects import ProjectDetails
from sam_backend.label_studio.task_pages import ListedTask, tasks_after

LOGIN_TIMEOUT_S = 120.0


def create_project(api: LabelStudioClient, title: str, labeling_config: str, description: str = "") -> ProjectDetails:
    """Create a project; Label Studio checks the labeling config."""
    body = {"title": title, "label_config": labeling_config, "description": description}
    return ProjectDetails.from_json(api.call("POST", "/api/projects/", body))


def import_files(api: LabelStudioClient, project: int, files: Sequence[Path]) -> None:
    """Upload files; each becomes a task."""
    # one form field per file: of several files in one field Label Studio takes only the last
    fields = {f"file{number}": (file.name, file.read_bytes()) for number, file in enumerate(files)}
    api.call("POST", f"/api/projects/{project}/import", fields=fields)


def tasks_of_project(api: LabelStudioClient, project: int) -> list[ListedTask]:
    """Return all tasks of a project in the order of their ids."""
    tasks: list[ListedTask] = []
    while True:
        page = tasks_after(api, project, tasks[-1].id if tasks else 0)
        tasks += page.tasks
        if page.left <= len(page.tasks) or not page.tasks:
            return tasks


def interactive_prediction(api: LabelStudioClient, backend: int, task: int, context: Json) -> Json:
    """Send the editor's prompts to a connected backend, through Label Studio, and return its prediction.

    Raises:
        LabelStudioApiError: also if the backend failed, which Label Studio reports with status 200.
    """
    body = {"task": task, "context": context}
    answer = api.call("POST", f"/api/ml/{backend}/interactive-annotating", body)
    if answer.get("errors") or "data" not in answer:
        raise LabelStudioApiError(f"the backend returned no prediction: {answer.get('errors')}")
    return answer["data"]


def create_personal_access_token(url: str, email: str, password: str) -> str:
    """Log in with email and password, and create the user's personal access token.

    Raises:
        LabelStudioApiError: the login is refused, or the user has a token already (409).
    """
    http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(LOGIN_TIMEOUT_S))
    cookies = _cookies(_request(http, "GET", f"{url}/user/login/"))
    form = {"email": email, "password": password, "csrfmiddlewaretoken": cookies.get("csrftoken", "")}
    headers = {"Cookie": _cookie_header(cookies), "Referer": url}
    login = _request(http, "POST", f"{url}/user/login/", fields=form, encode_multipart=False, headers=headers)
    if login.status != 302:  # the form again, with a message for people
        raise LabelStudioApiError(f"Label Studio at {url} refused the login of {email}")
    cookies |= _cookies(login)
    headers = {"Cookie": _cookie_header(cookies), "X-CSRFToken": cookies.get("csrftoken", "")}
    answer = _request(http, "POST", f"{url}/api/token/", json={}, headers=headers)
    if answer.status != 201:
        raise LabelStudioApiError(f"POST /api/token/ answered {answer.status}: {answer.data[:200]!r}", answer.status)
    return str(answer.json()["token"])


def _request(http: urllib3.PoolManager, method: str, url: str, **options: Any) -> urllib3.BaseHTTPResponse:
    try:
        return http.request(method, url, redirect=False, **options)
    except urllib3.exceptions.HTTPError as error:
        raise LabelStudioApiError(f"{method} {url}: Label Studio cannot be reached ({error})") from error


def _cookies(response: urllib3.BaseHTTPResponse) -> dict[str, str]:
    pairs = (header.split(";", 1)[0] for header in response.headers.getlist("Set-Cookie"))
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def _cookie_header(cookies: Mapping[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in cookies.items())
