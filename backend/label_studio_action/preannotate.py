"""The Data Manager action: start a run of the SAM backend for the selected tasks.

Source: label-studio 1.23.2, data_manager/actions/__init__.py (actions) and ml/models.py (connected models).
"""

import base64
import json
import os
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from rest_framework.exceptions import ValidationError

TITLE = "Pre-annotate with SAM…"
TIMEOUT_S, HEALTH_TIMEOUT_S = 15.0, 3.0
MODEL_CLASS = "label-studio-sam"  # in the answer of the SAM backend's /health
SIMILAR_TITLE = "Find similar with SAM…"
DETECTORS = ("classical", "everything", "boxes", "yolov8n")  # first in the dialog; GET /api/status lists the others
POLICIES = {
    "Skip tasks with a prediction of the same models": "skip",
    "Replace this backend's predictions": "replace-own",
    "Add another prediction": "add",
}
CONDITIONS = {
    "All selected tasks": None,
    "Only tasks without annotations": "without_annotations",
    "Only tasks without predictions": "without_predictions",
}
MATCHING_TASKS = {
    "without_annotations": "the tasks without annotations among {}",
    "without_predictions": "the tasks without predictions among {}",
}


def form(user: Any, project: Any) -> list[dict[str, Any]]:
    """Return the fields of the dialog."""
    fields = [
        _select("detector", "Find objects with", _detectors(project)),
        {"type": "input", "name": "text", "label": "Words, such as cat, red car=Vehicle (in place of all classes)"},
        {
            "type": "input",
            "name": "score_threshold",
            "label": "Minimum score, 0 to 1 (default: the config's, or 0.25)",
        },
        _select("which", "Tasks", tuple(CONDITIONS)),
        _select("policy", "If a task has a prediction", tuple(POLICIES)),
        {"type": "input", "name": "label_map", "label": "Label map, such as car=Vehicle, face=Person"},
    ]
    return [{"columnCount": 1, "fields": fields}]


def _select(name: str, label: str, options: tuple[str, ...]) -> dict[str, Any]:
    return {"type": "select", "name": name, "label": label, "options": list(options), "value": options[0]}


def preannotate_with_sam(project: Any, queryset: Any, **kwargs: Any) -> dict[str, Any]:
    """Start a run for the selected tasks; Label Studio shows the returned text."""
    fields = kwargs["request"].data
    run = _post(project, "/api/runs", configuration(project.id, fields, queryset))["run"]
    count = queryset.count()
    tasks = MATCHING_TASKS.get(CONDITIONS.get(fields.get("which") or ""), "{} tasks").format(count)
    return {"async": True, "processed_items": count, "detail": f"Run {run['id']} pre-annotates {tasks}"}


def similar_form(user: Any, project: Any) -> list[dict[str, Any]]:
    """Return the fields of the dialog of `find_similar_with_sam`."""
    score = {
        "type": "input",
        "name": "score_threshold",
        "label": "Minimum score, 0 to 1 (default: the config's, or 0.5)",
    }
    policies = _select("policy", "If a task has a prediction", tuple(POLICIES))
    return [{"columnCount": 1, "fields": [score, policies]}]


def find_similar_with_sam(project: Any, queryset: Any, **kwargs: Any) -> dict[str, Any]:
    """Start a run that finds in all other tasks what is annotated in the selected ones."""
    fields = kwargs["request"].data
    ids = list(queryset.filter(annotations__was_cancelled=False).values_list("id", flat=True).distinct())
    if not ids:
        raise ValidationError("Could not start a run: none of the selected tasks has an annotation")
    body = configuration(project.id, {**fields, "detector": "exemplars", "text": "", "label_map": ""}, None)
    run = _post(project, "/api/runs", {**body, "example_tasks": ids})["run"]
    detail = f"Run {run['id']} finds what is like the annotations of {len(ids)} tasks"
    return {"async": True, "processed_items": len(ids), "detail": detail}


def configuration(project: int, fields: Any, queryset: Any) -> dict[str, Any]:
    """Return the dialog's fields as the body of POST /api/runs; without `queryset` the run is not limited to tasks.

    Raises:
        ValidationError: a field has a bad value.
    """
    found: dict[str, Any] = {"project": project}
    if queryset is not None:
        found["filter"] = _filter(fields, queryset)
    if fields.get("detector"):
        found["detector"] = fields["detector"]
    if str(fields.get("text") or "").strip():
        found["text"] = str(fields["text"]).strip()
        if found.get("detector") == DETECTORS[0]:  # the dialog's default knows few words
            found["detector"] = "auto"
    found["policy"] = POLICIES.get(fields.get("policy") or "", "skip")
    if str(fields.get("score_threshold") or "").strip():
        try:
            found["score_threshold"] = float(fields["score_threshold"])
        except ValueError:
            raise ValidationError(f"Minimum score: {fields['score_threshold']!r} is not a number from 0 to 1") from None
    pairs = [pair.partition("=") for pair in str(fields.get("label_map") or "").split(",") if pair.strip()]
    if any(not (name.strip() and label.strip()) for name, _, label in pairs):
        raise ValidationError(f"Label map: {fields['label_map']!r} is not class=Label, several separated by commas")
    if pairs:
        found["label_map"] = {name.strip(): label.strip() for name, _, label in pairs}
    return found


def _filter(fields: Any, queryset: Any) -> dict[str, Any]:
    """Return the run's filter: no ids if all tasks of the project are selected."""
    found: dict[str, Any] = {}
    condition = CONDITIONS.get(fields.get("which") or "")
    if condition:
        found[condition] = True
    selected = fields.get("selectedItems") or {}
    selected = json.loads(selected) if isinstance(selected, str) else selected
    is_filtered = bool((fields.get("filters") or {}).get("items"))
    if not (selected.get("all") and not selected.get("excluded") and not is_filtered):
        found["ids"] = list(queryset.values_list("id", flat=True))
        if not found["ids"]:
            raise ValidationError("Could not start a run: no task is selected")
    return found


class _NoRedirects(HTTPRedirectHandler):
    """Follow no redirect: the password is for the backend's address only."""

    def redirect_request(self, *arguments: Any) -> None:
        return None


OPENER = build_opener(ProxyHandler({}), _NoRedirects)


def _detectors(project: Any) -> tuple[str, ...]:
    """Return the backend's detectors, `DETECTORS` first; only those if the backend does not answer."""
    try:
        url, headers = _backend(project)
        headers = _for_api(headers)
        with OPENER.open(Request(f"{url}/api/status", headers=headers), timeout=HEALTH_TIMEOUT_S) as answer:
            known = [str(name) for name in json.load(answer)["detectors"]]
            return (*DETECTORS, *(name for name in known if name not in DETECTORS))
    except (URLError, TimeoutError, ValueError, KeyError, TypeError, ValidationError):
        return DETECTORS  # the user sees the error when the run is started


def _post(project: Any, path: str, body: dict[str, Any]) -> Any:
    url, headers = _backend(project)
    headers = _for_api(headers) | {"Content-Type": "application/json", "Accept": "application/json"}
    try:
        with OPENER.open(Request(url + path, json.dumps(body).encode(), headers), timeout=TIMEOUT_S) as answer:
            return json.load(answer)
    except HTTPError as error:
        raise ValidationError(f"The SAM backend at {url} refused the run: {_error_text(error)}") from None
    except (URLError, TimeoutError, ValueError) as error:
        raise ValidationError(f"The SAM backend at {url} does not answer: {error}") from None


def _backend(project: Any) -> tuple[str, dict[str, str]]:
    """Return the backend's address and authorization: SAM_BACKEND_URL, otherwise the project's SAM backend."""
    connected = list(project.ml_backends.order_by("id"))
    chosen = os.environ.get("SAM_BACKEND_URL", "").rstrip("/")
    if chosen:
        parts = urlsplit(chosen)
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        same = next((_headers(model) for model in connected if model.url.rstrip("/") == url), {})
        return url, _credentials(parts.username, parts.password) or same
    for model in connected:
        if _is_ours(model.url.rstrip("/"), _headers(model)):
            return model.url.rstrip("/"), _headers(model)
    if connected:
        urls = ", ".join(model.url for model in connected)
        raise ValidationError(f"Could not find a SAM backend: no model of this project answers as one ({urls})")
    raise ValidationError("Could not find a SAM backend: this project has no model; connect one under Settings > Model")


def _for_api(headers: dict[str, str]) -> dict[str, str]:
    """Return the headers of a call of /api: SAM_API_TOKEN, if it is set, replaces the password.

    The token is sent to SAM_BACKEND_URL only: a user who may connect models could otherwise read it.
    """
    token = os.environ.get("SAM_API_TOKEN", "").strip()
    if not token:
        return headers
    if not os.environ.get("SAM_BACKEND_URL"):
        raise ValidationError("SAM_API_TOKEN needs SAM_BACKEND_URL: the token is sent to that address only")
    return {**headers, "Authorization": f"Bearer {token}"}


def _headers(model: Any) -> dict[str, str]:
    """Return the authorization that Label Studio stores for a connected model."""
    return _credentials(model.basic_auth_user, model.basic_auth_pass) if model.auth_method == "BASIC_AUTH" else {}


def _credentials(user: str | None, password: str | None) -> dict[str, str]:
    if not user:
        return {}
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password or ''}".encode()).decode()}


def _is_ours(url: str, headers: dict[str, str]) -> bool:
    try:
        with OPENER.open(Request(f"{url}/health", headers=headers), timeout=HEALTH_TIMEOUT_S) as answer:
            return bool(json.load(answer).get("model_class") == MODEL_CLASS)
    except (URLError, TimeoutError, ValueError, AttributeError):
        return False


def _error_text(error: HTTPError) -> str:
    try:
        return str(json.load(error)["error"])
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}"
