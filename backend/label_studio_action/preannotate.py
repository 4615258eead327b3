"""The action: the selected tasks go to the backend's /api/runs.

Source: label-studio 1.23.2, data_manager/actions/__init__.py (what an action is) and ml/models.py (connected models).
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
MODEL_CLASS = "label-studio-sam"  # what our /health says
DETECTORS = ("classical", "everything", "boxes", "yolov8n")  # the dialog's first; the backend tells the others
POLICIES = {
    "Skip tasks that the same models have predicted": "skip",
    "Replace predictions of this backend": "replace-own",
    "Add another prediction": "add",
}
WHICH = {
    "All selected tasks": None,
    "Only those without annotations": "without_annotations",
    "Only those without predictions": "without_predictions",
}
REST = {
    "without_annotations": "those of {} tasks that have no annotation",
    "without_predictions": "those of {} tasks that have no prediction",
}


def form(user: Any, project: Any) -> list[dict[str, Any]]:
    """The fields of the dialog."""
    fields = [
        _select("detector", "Find objects with", _detectors(project)),
        {"type": "input", "name": "score_threshold", "label": "Least score, 0 to 1 (empty: the config's, else 0.25)"},
        _select("which", "Tasks", tuple(WHICH)),
        _select("policy", "Where there is a prediction already", tuple(POLICIES)),
        {"type": "input", "name": "label_map", "label": "Classes as labels, such as car=Vehicle, face=Person"},
    ]
    return [{"columnCount": 1, "fields": fields}]


def _select(name: str, label: str, options: tuple[str, ...]) -> dict[str, Any]:
    return {"type": "select", "name": name, "label": label, "options": list(options), "value": options[0]}


def preannotate_with_sam(project: Any, queryset: Any, **kwargs: Any) -> dict[str, Any]:
    """Ask the backend for a run over the selected tasks; Label Studio shows that it began."""
    asked = kwargs["request"].data
    run = _post(project, "/api/runs", configuration(project.id, asked, queryset))["run"]
    count = queryset.count()
    which = REST.get(WHICH.get(asked.get("which") or ""), f"{count} tasks")
    return {"async": True, "processed_items": count, "detail": f"Run {run['id']} pre-annotates {which.format(count)}"}


def configuration(project: int, asked: Any, queryset: Any) -> dict[str, Any]:
    """The run that the dialog describes, as /api/runs takes it.

    Raises:
        ValidationError: a field that cannot be read.
    """
    found: dict[str, Any] = {"project": project, "filter": _filter(asked, queryset)}
    if asked.get("detector"):
        found["detector"] = asked["detector"]
    found["policy"] = POLICIES.get(asked.get("policy") or "", "skip")
    if str(asked.get("score_threshold") or "").strip():
        try:
            found["score_threshold"] = float(asked["score_threshold"])
        except ValueError:
            raise ValidationError(f"Least score: {asked['score_threshold']!r} is not a number from 0 to 1") from None
    pairs = [pair.partition("=") for pair in str(asked.get("label_map") or "").split(",") if pair.strip()]
    if any(not (name.strip() and label.strip()) for name, _, label in pairs):
        raise ValidationError(f"Classes as labels: {asked['label_map']!r}; needed: class=Label, several with commas")
    if pairs:
        found["label_map"] = {name.strip(): label.strip() for name, _, label in pairs}
    return found


def _filter(asked: Any, queryset: Any) -> dict[str, Any]:
    """The selected tasks: all of a project without naming them, else their ids."""
    found: dict[str, Any] = {}
    condition = WHICH.get(asked.get("which") or "")
    if condition:
        found[condition] = True
    selected = asked.get("selectedItems") or {}
    selected = json.loads(selected) if isinstance(selected, str) else selected
    is_filtered = bool((asked.get("filters") or {}).get("items"))
    if not (selected.get("all") and not selected.get("excluded") and not is_filtered):
        found["ids"] = list(queryset.values_list("id", flat=True))
        if not found["ids"]:
            raise ValidationError("No task is selected")
    return found


class _NoRedirects(HTTPRedirectHandler):
    """A password must not follow where somebody points."""

    def redirect_request(self, *arguments: Any) -> None:
        return None


OPENER = build_opener(ProxyHandler({}), _NoRedirects)


def _detectors(project: Any) -> tuple[str, ...]:
    """What the backend can look for objects with, the usual ones first; those alone where it does not say."""
    try:
        url, headers = _backend(project)
        headers = _for_api(headers)
        with OPENER.open(Request(f"{url}/api/status", headers=headers), timeout=HEALTH_TIMEOUT_S) as answer:
            offered = [str(name) for name in json.load(answer)["detectors"]]
            return (*DETECTORS, *(name for name in offered if name not in DETECTORS))
    except (URLError, TimeoutError, ValueError, KeyError, TypeError, ValidationError):
        return DETECTORS  # starting the run tells what is wrong


def _post(project: Any, path: str, body: dict[str, Any]) -> Any:
    url, headers = _backend(project)
    headers = _for_api(headers) | {"Content-Type": "application/json", "Accept": "application/json"}
    try:
        with OPENER.open(Request(url + path, json.dumps(body).encode(), headers), timeout=TIMEOUT_S) as answer:
            return json.load(answer)
    except HTTPError as error:
        raise ValidationError(f"The SAM backend at {url} refused: {_words(error)}") from None
    except (URLError, TimeoutError, ValueError) as error:
        raise ValidationError(f"The SAM backend at {url} does not answer ({error})") from None


def _backend(project: Any) -> tuple[str, dict[str, str]]:
    """The backend's address and how to be let in: SAM_BACKEND_URL, else the project's connected model that is ours."""
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
        raise ValidationError(f"No model of this project is a SAM backend that answers ({urls})")
    raise ValidationError("This project has no model: connect the SAM backend under Settings > Model")


def _for_api(headers: dict[str, str]) -> dict[str, str]:
    """The headers of a call of /api: SAM_API_TOKEN in place of a password.

    The token goes to SAM_BACKEND_URL only: whoever may connect a model could else collect it.
    """
    token = os.environ.get("SAM_API_TOKEN", "").strip()
    if not token:
        return headers
    if not os.environ.get("SAM_BACKEND_URL"):
        raise ValidationError("SAM_API_TOKEN needs SAM_BACKEND_URL beside it: the token is sent there and nowhere else")
    return {**headers, "Authorization": f"Bearer {token}"}


def _headers(model: Any) -> dict[str, str]:
    """The password that a connected model has in Label Studio."""
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


def _words(error: HTTPError) -> str:
    try:
        return str(json.load(error)["error"])
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}"
