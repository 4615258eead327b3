"""The few calls of Label Studio's HTTP API that we make, typed.

Source: label-studio 1.23.2, its API reference and what its server answers.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import urllib3

from sam_backend.errors import LabelStudioError, LabelStudioForbiddenError
from sam_backend.label_studio.connections import label_studio_pool
from sam_backend.label_studio.credentials import Credential, LabelStudioCredentials
from sam_backend.redaction import mask_userinfo

REQUEST_TIMEOUT_S = 120.0  # Label Studio itself waits up to 100 s for a backend
PAGE_SIZE = 100

Json = Any  # what JSON gives, before it is made a value


class LabelStudioApiError(Exception):
    """Label Studio did not do what it was asked; the message names the call, the status and Label Studio's words.

    `status` is None where there was no answer, and `retry_after_s` what the answer asked for, in seconds.
    """

    def __init__(self, message: str, status: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status, self.retry_after_s = status, retry_after_s

    @property
    def is_passing(self) -> bool:
        """Whether the same call may succeed later: no answer, too many calls, or trouble inside Label Studio."""
        return self.status is None or self.status == 429 or self.status >= 500


@dataclass(frozen=True)
class Project:
    """A project, as much of it as we look at."""

    id: int
    title: str


@dataclass(frozen=True)
class Task:
    """A task and its data, such as {"image": "/data/upload/1/a.jpg"}."""

    id: int
    data: Mapping[str, Json]


@dataclass(frozen=True)
class ConnectedBackend:
    """An ML backend that a project knows."""

    id: int
    title: str
    url: str
    is_connected: bool
    error_message: str


@dataclass(frozen=True)
class Annotation:
    """A submitted annotation: its regions as Label Studio stores them."""

    id: int
    result: Sequence[Mapping[str, Json]]


class LabelStudioClient:
    """Label Studio's API as one user may call it."""

    def __init__(self, access: LabelStudioCredentials, timeout_s: float = REQUEST_TIMEOUT_S) -> None:
        self._access = access
        self._http = label_studio_pool(timeout_s, maxsize=8)

    def projects(self) -> list[Project]:
        """All projects of the organization."""
        projects: list[Project] = []
        for page in range(1, 1000):
            answer = self.call("GET", "/api/projects/", query={"page": page, "page_size": PAGE_SIZE})
            projects += [Project(int(item["id"]), str(item["title"])) for item in answer["results"]]
            if len(projects) >= answer["count"]:
                break
        return projects

    def create_project(self, title: str, labeling_config: str, description: str = "") -> Project:
        """Make a project; Label Studio checks the labeling config."""
        body = {"title": title, "label_config": labeling_config, "description": description}
        answer = self.call("POST", "/api/projects/", body)
        return Project(int(answer["id"]), str(answer["title"]))

    def import_files(self, project: int, files: Sequence[Path]) -> None:
        """Upload files; each becomes a task."""
        # one form field per file: of several files in one field Label Studio takes only the last
        fields = {f"file{number}": (file.name, file.read_bytes()) for number, file in enumerate(files)}
        self.call("POST", f"/api/projects/{project}/import", fields=fields)

    def tasks(self, project: int) -> list[Task]:
        """All tasks of a project, in the order of their ids; data as imported, cloud addresses unresolved."""
        tasks: list[Task] = []
        for page in range(1, 1_000_000):
            query = {"project": project, "fields": "task_only", "page": page, "page_size": PAGE_SIZE}
            answer = self.call("GET", "/api/tasks/", query=query)
            tasks += [Task(int(item["id"]), item["data"]) for item in answer["tasks"]]
            if len(tasks) >= answer["total"] or not answer["tasks"]:
                break
        return sorted(tasks, key=lambda task: task.id)

    def backends(self, project: int) -> list[ConnectedBackend]:
        """The ML backends of a project; Label Studio asks each for its health before it answers."""
        return [_backend(item) for item in self.call("GET", "/api/ml/", query={"project": project})]

    def connect_backend(self, project: int, url: str, title: str) -> ConnectedBackend:
        """Add an ML backend that answers the smart tools."""
        body = {"project": project, "url": url, "title": title, "is_interactive": True}
        return _backend(self.call("POST", "/api/ml/", body))

    def move_backend(self, project: int, backend: int, url: str) -> ConnectedBackend:
        """Tell Label Studio that a backend has another address now."""
        body = {"project": project, "url": url}  # without the project Label Studio 1.23.2 answers 500
        return _backend(self.call("PATCH", f"/api/ml/{backend}", body))

    def ask_backend(self, backend: int, task: int, context: Json) -> Json:
        """What the editor does after a click: prompts go to the backend, its prediction comes back.

        Raises:
            LabelStudioApiError: also where the backend gave no usable answer, which Label Studio reports with 200.
        """
        body = {"task": task, "context": context}
        answer = self.call("POST", f"/api/ml/{backend}/interactive-annotating", body)
        if answer.get("errors") or "data" not in answer:
            raise LabelStudioApiError(f"the backend gave no usable answer: {answer.get('errors')}")
        return answer["data"]

    def annotations(self, task: int) -> list[Annotation]:
        """The submitted annotations of a task."""
        answer = self.call("GET", f"/api/tasks/{task}/annotations/")
        return [Annotation(int(item["id"]), item["result"]) for item in answer]

    def call(
        self,
        method: str,
        path: str,
        body: Json = None,
        *,
        query: Mapping[str, object] | None = None,
        fields: Mapping[str, tuple[str, bytes]] | None = None,
        text: bytes | None = None,
        with_token: bool = True,
    ) -> Json:
        """Make one call and return its JSON. `body` is sent as JSON, `text` is JSON already, `fields` is a form.

        Raises:
            LabelStudioApiError: no answer, or another one than success. Its message quotes the answer only if the
                settings name this Label Studio: a POST /setup may name any host.
        """
        known = self._access.credential
        if known is None:
            raise LabelStudioApiError(f"{method} {path}: Label Studio's address is not known")
        options: dict[str, Any] = {"headers": {"Authorization": self._authorization(known)} if with_token else {}}
        if text is not None:
            options["body"] = text
            options["headers"]["Content-Type"] = "application/json"
        elif body is not None:
            options["json"] = body
        elif fields is not None:
            options["fields"] = fields
        url = f"{known.url}{path}" + (f"?{urlencode(query)}" if query else "")
        response = _send(self._http, method, url, **options)
        if response.status == 401 and with_token:
            renewed = self._renewed(options["headers"]["Authorization"], known)
            if renewed is not None:  # a bearer token has ended: a 401 did nothing, so the call may be made again
                options["headers"]["Authorization"] = renewed
                response = _send(self._http, method, url, **options)
        if response.status == 401 and with_token:
            self._access.note_refusal(known)
        return _json(f"{method} {path}", response, is_quoted=known.is_url_from_settings)

    def _authorization(self, known: Credential) -> str:
        return self._allowed(lambda: self._access.authorization(known)) or ""

    def _renewed(self, refused: str, known: Credential) -> str | None:
        return self._allowed(lambda: self._access.renewed_authorization(refused, known))

    @staticmethod
    def _allowed(authorization: Callable[[], str | None]) -> str | None:
        try:
            return authorization()
        except LabelStudioForbiddenError as error:
            raise LabelStudioApiError(str(error), 401) from error
        except LabelStudioError as error:
            raise LabelStudioApiError(str(error)) from error


def create_personal_access_token(url: str, email: str, password: str) -> str:
    """Log in as a person does and make the user's personal access token, a user has one.

    Raises:
        LabelStudioApiError: wrong email or password, or the user has a token already (409).
    """
    http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(REQUEST_TIMEOUT_S))
    cookies = _cookies(_send(http, "GET", f"{url}/user/login/", redirect=False))
    form = {"email": email, "password": password, "csrfmiddlewaretoken": cookies.get("csrftoken", "")}
    login = _send(
        http,
        "POST",
        f"{url}/user/login/",
        fields=form,
        encode_multipart=False,
        headers={"Cookie": _cookie_header(cookies), "Referer": url},
        redirect=False,
    )
    if login.status != 302:  # the form again, with a message for people
        raise LabelStudioApiError(f"Label Studio at {url} refused the login of {email}")
    cookies |= _cookies(login)
    headers = {"Cookie": _cookie_header(cookies), "X-CSRFToken": cookies.get("csrftoken", "")}
    answer = _json("POST /api/token/", _send(http, "POST", f"{url}/api/token/", json={}, headers=headers))
    return str(answer["token"])


def _backend(item: Json) -> ConnectedBackend:
    return ConnectedBackend(
        id=int(item["id"]),
        title=str(item["title"]),
        url=str(item["url"]),
        is_connected=item.get("state") == "CO",
        error_message=str(item.get("error_message") or ""),
    )


def _send(http: urllib3.PoolManager, method: str, url: str, **options: Any) -> urllib3.BaseHTTPResponse:
    try:
        return http.request(method, url, **options)
    except urllib3.exceptions.HTTPError as error:
        reason = str(error).rpartition("] ")[2].rpartition(": ")[2]  # without urllib3's objects and numbers
        raise LabelStudioApiError(
            f"{method} {urlsplit(url).path}: Label Studio cannot be reached ({reason})"
        ) from error


def _json(call: str, response: urllib3.BaseHTTPResponse, *, is_quoted: bool = True) -> Json:
    text = response.data.decode("utf-8", "replace")
    if response.status in (200, 201, 204) and not text and not call.startswith("GET "):
        return None
    if response.status not in (200, 201):
        if 300 <= response.status < 400:
            text = f"go to {mask_userinfo(response.headers.get('Location', 'nowhere').partition('?')[0])}"
        words = ": a web page" if text.lstrip().startswith("<") else f": {_words(text)}"
        after = response.headers.get("Retry-After", "")
        wait_s = float(after) if after.isdecimal() else None
        words = words if is_quoted else ""
        raise LabelStudioApiError(f"{call} answered {response.status}{words}", response.status, wait_s)
    try:
        return json.loads(text)
    except ValueError:
        raise LabelStudioApiError(f"{call} answered no JSON{f': {text[:200]}' if is_quoted else ''}") from None


def _words(text: str) -> str:
    """What an error says, without what is around it."""
    try:
        answer = json.loads(text)
    except ValueError:
        return text[:500]
    if not isinstance(answer, dict):
        return text[:500]
    errors = answer.get("validation_errors")
    return ": ".join(part for part in (str(answer.get("detail") or ""), _flat(errors)) if part)[:500] or text[:500]


def _flat(errors: Json) -> str:
    """The texts of Django's nested lists and objects of errors."""
    if isinstance(errors, dict):
        return "; ".join(_flat(each) for each in errors.values())
    if isinstance(errors, list):
        return "; ".join(_flat(each) for each in errors)
    return str(errors or "")


def _cookies(response: urllib3.BaseHTTPResponse) -> dict[str, str]:
    pairs = (header.split(";", 1)[0] for header in response.headers.getlist("Set-Cookie"))
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def _cookie_header(cookies: Mapping[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in cookies.items())
