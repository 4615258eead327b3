"""The bodies that Label Studio posts, parsed once, at the door.

Source: label-studio 1.23.2, ml/api_connector.py (what is sent), ml/mixins.py and tasks/serializers.py (the tasks).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sam_backend.base_url import parse_base_url, parse_token
from sam_backend.errors import BadRequestError
from sam_backend.protocol.fields import listing, mapping, optional_text, shown, text
from sam_backend.protocol.regions import PromptRegion, prompt_regions_from_json

LARGEST_ID = 2**63 - 1


@dataclass(frozen=True)
class Task:
    """A task as far as an answer needs it: `data` is what the labeling config's `$fields` point into."""

    id: int | None
    project_id: int | None
    data: dict[str, Any] = field(default_factory=dict)
    versions: frozenset[str] = frozenset()  # of the predictions that it has already

    @property
    def name(self) -> str:
        """How messages call it."""
        return "task" if self.id is None else f"task {self.id}"


@dataclass(frozen=True)
class PredictRequest:
    """POST /predict; `context` is None for a task that was opened or a batch, a tuple for a person's prompts."""

    tasks: tuple[Task, ...]
    labeling_config: str
    context: tuple[PromptRegion, ...] | None
    login: str | None
    password: str | None

    @classmethod
    def from_json(cls, body: object) -> "PredictRequest":
        """Parse the body of POST /predict.

        Raises:
            BadRequestError: not what Label Studio sends; names field and value.
        """
        request = mapping(body, "the body")
        params = mapping(request.get("params") or {}, "params")
        context = params.get("context")
        if context is None:
            context = request.get("context")  # label-studio-ml's clients put it beside params
        project_id = _project_id(request.get("project"))
        return cls(
            tasks=tuple(_task(task, i, project_id) for i, task in enumerate(listing(request.get("tasks"), "tasks"))),
            labeling_config=text(request.get("label_config"), "label_config"),
            context=None if context is None else _context(context),
            login=optional_text(params.get("login"), "params.login"),
            password=optional_text(params.get("password"), "params.password"),
        )


@dataclass(frozen=True)
class SetupRequest:
    """POST /setup: which project, its labeling config, where Label Studio says it is.

    `hostname` and `access_token` are empty where Label Studio has none to tell.
    """

    project: str
    labeling_config: str
    hostname: str
    access_token: str
    project_id: int | None = None
    extra_params: object = None  # whatever JSON was typed with the connected model

    @classmethod
    def from_json(cls, body: object) -> "SetupRequest":
        """Parse the body of POST /setup.

        Raises:
            BadRequestError: not what Label Studio sends; names field and value.
        """
        request = mapping(body, "the body")
        return cls(
            project=str(request.get("project") or ""),
            labeling_config=optional_text(request.get("schema"), "schema") or "",
            hostname=_parsed(request, "hostname", parse_base_url),
            access_token=_parsed(request, "access_token", parse_token),
            project_id=_project_id(request.get("project")),
            extra_params=request.get("extra_params"),
        )


@dataclass(frozen=True)
class WebhookEvent:
    """POST /webhook: what happened, such as START_TRAINING or TASKS_CREATED, where, and to which tasks."""

    action: str
    project_id: int | None
    task_ids: tuple[int, ...] = ()

    @classmethod
    def from_json(cls, body: object) -> "WebhookEvent":
        """Parse the body of POST /webhook; of events that mean nothing to us only the action has to be there.

        Raises:
            BadRequestError: not a JSON object with an action.
        """
        request = mapping(body, "the body")
        project, tasks = request.get("project"), request.get("tasks")
        ids = [task.get("id") for task in tasks if isinstance(task, dict)] if isinstance(tasks, list) else []
        return cls(
            action=text(request.get("action"), "action"),
            project_id=_project_id(project.get("id") if isinstance(project, dict) else project),
            task_ids=tuple(number for number in ids if type(number) is int and 0 < number <= LARGEST_ID),
        )


def labeling_config_from_json(body: object) -> str:
    """The labeling config of a POST /validate: `config`, `label_config` or `schema`.

    Raises:
        BadRequestError: there is none.
    """
    request = mapping(body, "the body")
    names = ("config", "label_config", "schema")
    given = next((name for name in names if request.get(name) is not None), "config")
    return text(request.get(given), given)


def _parsed(request: dict[str, Any], field: str, parse: Callable[[str], str]) -> str:
    given = (optional_text(request.get(field), field) or "").strip()
    try:
        return parse(given) if given else ""
    except ValueError as error:
        raise BadRequestError(f"{field} cannot be used: {error}") from None


def _project_id(project: object) -> int | None:
    """Label Studio writes `"<id>.<unix time of creation>"`."""
    number = str(project or "").split(".")[0]
    return int(number) if number.isdecimal() and len(number) < 19 else None


def _task(task: object, position: int, project_id: int | None) -> Task:
    fields = mapping(task, f"tasks[{position}]")
    task_id = fields.get("id")
    if task_id is not None and not (type(task_id) is int and 0 <= task_id <= LARGEST_ID):
        raise BadRequestError(f"tasks[{position}].id={shown(task_id)} is not a task's number")
    stored = fields.get("predictions")
    versions = (one.get("model_version") for one in stored if isinstance(one, dict)) if isinstance(stored, list) else ()
    return Task(
        task_id,
        project_id,
        mapping(fields.get("data"), f"tasks[{position}].data"),
        frozenset(version for version in versions if isinstance(version, str)),
    )


def _context(context: object) -> tuple[PromptRegion, ...]:
    result = mapping(context, "params.context").get("result")
    return prompt_regions_from_json(listing([] if result is None else result, "params.context.result"))
