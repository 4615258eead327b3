"""The bodies of Label Studio's requests, parsed into frozen dataclasses.

Parsing takes at most three times the body's memory and a few MiB: fields that are not used (annotations, drafts,
regions of predictions) are skipped, and a field of a task's `data` is decoded when it is read.

Source: label-studio 1.23.2, ml/api_connector.py (requests), ml/mixins.py and tasks/serializers.py (tasks).
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec import Raw, Struct

from sam_backend.errors import BadRequestError
from sam_backend.network.base_url import parse_base_url, parse_token
from sam_backend.protocol.fields import shown
from sam_backend.protocol.labeling_config import MAX_CONFIG_LENGTH
from sam_backend.protocol.mask_skipping import without_masks
from sam_backend.protocol.regions import (
    PromptRegion,
    TypedText,
    prompt_regions_from_context,
    typed_texts_from_context,
)
from sam_backend.protocol.task_data import TaskData
from sam_backend.protocol.task_regions import TaskSource
from sam_backend.protocol.typed_json import MISSING, decoded, is_null, optional_text, shown_json, text

logger = logging.getLogger(__name__)

PREWARM, CAPABILITIES = EVENTS = ("prewarm", "capabilities")
MAX_ID = 2**63 - 1
MAX_TASKS = 100_000
MAX_NAME_BYTES = 4096  # of a user name, a password, a model version
_CONFIG_BYTES = 6 * MAX_CONFIG_LENGTH  # a character has up to 6 bytes in JSON
_BYTES_PER_OBJECT = 40  # of real annotations and predictions; JSON with smaller objects takes too much memory


@dataclass(frozen=True)
class Task:
    """A task: the fields that predictions need. The `$fields` of the labeling config are in `data`."""

    id: int | None
    project_id: int | None
    data: Mapping[str, Any] = field(default_factory=dict)
    versions: frozenset[str] = frozenset()  # model versions of its predictions
    project_created_s: int | None = None  # seconds since 1970
    source: TaskSource | None = field(default=None, repr=False, compare=False)  # None: it has no drafts and annotations

    @property
    def name(self) -> str:
        """Return the name for messages."""
        return "task" if self.id is None else f"task {self.id}"


class _TaskBody(Struct, gc=False):
    data: Raw
    id: Raw = MISSING
    predictions: Raw = MISSING


class _StoredPrediction(Struct, gc=False):
    model_version: Raw = MISSING


class _Params(Struct):
    context: Raw = MISSING
    login: Raw = MISSING
    password: Raw = MISSING


class _PredictBody(Struct):
    tasks: list[_TaskBody]
    label_config: Raw
    project: Raw = MISSING
    params: Raw = MISSING
    context: Raw = MISSING


@dataclass(frozen=True)
class PredictRequest:
    """POST /predict; `context` has the prompts of a click, and is None for an opened task or a batch.

    A context with an event asks for something else than masks.
    """

    tasks: tuple[Task, ...]
    labeling_config: str
    context: tuple[PromptRegion, ...] | None
    login: str | None
    password: str | None
    event: str | None = None  # of the context: one of EVENTS, None for a click
    texts: tuple[TypedText, ...] = ()  # of the context

    @classmethod
    def from_json(cls, body: bytes | bytearray) -> "PredictRequest":
        """Parse the body of POST /predict.

        Raises:
            BadRequestError: the body is malformed; the message names field and value.
        """
        whole_body, body = body, without_masks(body)
        objects = body.count(b"{")
        if objects > MAX_TASKS:
            _check_number_of_tasks(body)
        request = decoded(body, _PredictBody)
        has_params = not is_null(request.params) and bytes(memoryview(request.params)[:3]) != b"[]"
        params = decoded(request.params, _Params, "params") if has_params else _Params()
        # label-studio-ml sends the context beside params
        context = request.context if is_null(params.context) else params.context
        is_click = not is_null(context)
        if not is_click:
            _check_density(body, objects)
        project = _project_id(request.project), _project_created_s(request.project)
        return cls(
            tasks=tuple(
                _task(task, i, project, TaskSource(whole_body, i) if is_click else None)
                for i, task in enumerate(request.tasks)
            ),
            labeling_config=text(request.label_config, "label_config", _CONFIG_BYTES),
            context=prompt_regions_from_context(context) if is_click else None,
            event=_event(context) if is_click else None,
            texts=typed_texts_from_context(context) if is_click else (),
            login=optional_text(params.login, "params.login", MAX_NAME_BYTES),
            password=optional_text(params.password, "params.password", MAX_NAME_BYTES),
        )


class _EventContext(Struct):
    event: Raw = MISSING


class _SetupBody(Struct):
    project: Raw = MISSING
    schema: str | None = None
    hostname: str | None = None
    access_token: str | None = None
    extra_params: Raw = MISSING


@dataclass(frozen=True)
class SetupRequest:
    """POST /setup: the project, its labeling config, and Label Studio's URL and token.

    `hostname` and `access_token` are empty if Label Studio does not send them. `extra_params` is the JSON text of the
    connected model's extra parameters, None for none.
    """

    project: str
    labeling_config: str
    hostname: str
    access_token: str
    project_id: int | None = None
    project_created_s: int | None = None  # seconds since 1970
    extra_params: bytes | None = None

    @classmethod
    def from_json(cls, body: bytes | bytearray) -> "SetupRequest":
        """Parse the body of POST /setup.

        Raises:
            BadRequestError: the body is malformed; the message names field and value.
        """
        request = decoded(body, _SetupBody)
        return cls(
            project=_project_name(request.project),
            labeling_config=request.schema or "",
            hostname=_parsed(request.hostname, "hostname", parse_base_url),
            access_token=_parsed(request.access_token, "access_token", parse_token),
            project_id=_project_id(request.project),
            project_created_s=_project_created_s(request.project),
            extra_params=None if is_null(request.extra_params) else bytes(request.extra_params),
        )


class _WebhookBody(Struct):
    action: str
    project: Raw = MISSING
    tasks: Raw = MISSING


class _ProjectOfEvent(Struct):
    id: Raw = MISSING


class _TaskOfEvent(Struct, gc=False):
    id: int


@dataclass(frozen=True)
class WebhookEvent:
    """POST /webhook: the event, such as START_TRAINING or TASKS_CREATED, its project and its tasks."""

    action: str
    project_id: int | None
    task_ids: tuple[int, ...] = ()

    @classmethod
    def from_json(cls, body: bytes | bytearray) -> "WebhookEvent":
        """Parse the body of POST /webhook; only `action` is required.

        Raises:
            BadRequestError: the body is malformed; the message names field and value.
        """
        request = decoded(body, _WebhookBody)
        project = request.project
        if bytes(memoryview(project)[:1]) == b"{":
            project = decoded(project, _ProjectOfEvent, "project").id
        return cls(
            action=request.action,
            project_id=_project_id(project),
            task_ids=_created_tasks(request.tasks, body) if request.action == "TASKS_CREATED" else (),
        )


class _ConfigBody(Struct):
    config: str | None = None
    label_config: str | None = None
    schema: str | None = None


def labeling_config_from_json(body: bytes | bytearray) -> str:
    """Return the labeling config of a POST /validate: `config`, `label_config` or `schema`.

    Raises:
        BadRequestError: the body has none.
    """
    request = decoded(body, _ConfigBody)
    for found in (request.config, request.label_config, request.schema):
        if found is not None:
            return found
    raise BadRequestError("config is missing: expected a labeling config")


def _event(context: Raw) -> str | None:
    event = decoded(context, _EventContext, "params.context").event
    if bytes(memoryview(event)[:1]) != b'"':
        return None
    found = text(event, "params.context.event", MAX_NAME_BYTES)
    if found not in EVENTS:
        logger.info("the context's event %s is unknown; answering its prompts", shown(found))
        return None
    return found


def _parsed(given: str | None, field: str, parse: Callable[[str], str]) -> str:
    given = (given or "").strip()
    try:
        return parse(given) if given else ""
    except ValueError as error:
        raise BadRequestError(f"{field} is invalid: {error}") from None


def _check_number_of_tasks(body: bytes | bytearray) -> None:
    """Refuse more than `MAX_TASKS` tasks before they take memory.

    Each task has the name `data`. Escapes for its letters are valid JSON, but only an attacker sends them.
    """
    names = sum(body.count(name) for name in (b'"data"', b"\\u0064", b"\\u0061", b"\\u0074"))
    if names > MAX_TASKS:
        raise BadRequestError(f"tasks: more than {MAX_TASKS} tasks in one request")


def _check_density(body: bytes | bytearray, objects: int) -> None:
    """Refuse many small JSON objects: each takes more memory than its text."""
    if objects > MAX_TASKS + len(body) // _BYTES_PER_OBJECT:
        raise BadRequestError(f"the body has {objects} JSON objects in {len(body)} bytes: more than any tasks have")


def _created_tasks(tasks: Raw, body: bytes | bytearray) -> tuple[int, ...]:
    if is_null(tasks):
        return ()
    _check_density(body, body.count(b"{"))
    return tuple(task.id for task in decoded(tasks, list[_TaskOfEvent], "tasks") if 0 < task.id <= MAX_ID)


def _project_name(project: Raw) -> str:
    if is_null(project) or memoryview(project).nbytes > MAX_NAME_BYTES:
        return ""
    json = bytes(project)
    try:
        return decoded(project, str, "project") if json.startswith(b'"') else json.decode("ascii", "replace")
    except BadRequestError:
        return ""


def _project_id(project: Raw) -> int | None:
    """Return the id in `"<id>.<unix time of creation>"`, which Label Studio sends."""
    number = _project_name(project).split(".")[0]
    return int(number) if number.isdecimal() and len(number) < 19 else None


def _project_created_s(project: Raw) -> int | None:
    seconds = _project_name(project).partition(".")[2]
    return int(seconds) if seconds.isdecimal() and len(seconds) < 19 else None


def _task(task: _TaskBody, position: int, project: tuple[int | None, int | None], source: TaskSource | None) -> Task:
    """Return a task: with the source of its regions for a click, otherwise with the versions of its predictions."""
    where = f"tasks[{position}]"
    if bytes(memoryview(task.data)[:1]) != b"{":
        raise BadRequestError(f"{where}.data must be a JSON object, not {shown_json(task.data)}")
    versions = _versions(task.predictions, f"{where}.predictions") if source is None else frozenset[str]()
    number, created_s = project
    return Task(_task_id(task.id, f"{where}.id"), number, TaskData(bytes(task.data)), versions, created_s, source)


def _task_id(number: Raw, where: str) -> int | None:
    if is_null(number):
        return None
    digits = bytes(memoryview(number)[:20])
    if not digits.isdigit() or int(digits) > MAX_ID:
        raise BadRequestError(f"{where}={shown_json(number)} is not a task id")
    return int(digits)


def _versions(predictions: Raw, where: str) -> frozenset[str]:
    """Return the model versions of a task's predictions; none if these are ids, as from another serializer."""
    if is_null(predictions):
        return frozenset()
    try:
        stored = decoded(predictions, list[_StoredPrediction], where)
    except BadRequestError:
        return frozenset()
    return frozenset(
        text(one.model_version, f"{where}.model_version", MAX_NAME_BYTES)
        for one in stored
        if bytes(memoryview(one.model_version)[:1]) == b'"'
    )
