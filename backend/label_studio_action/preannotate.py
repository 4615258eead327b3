"""The action: the selected tasks go to the backend's /api/runs.

Source: label-studio 1.23.2, data_manager/actions/__init__.py (what an action is) and ml/models.py (connected models).
"""

import base64
import json
import os
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from rest_framework.exceptions import ValidationError

TITLE = "Pre-annotate with SAM…"
TIMEOUT_S = 15.0
DETECTORS = ("classical", "everything", "boxes", "yolov8n", "yolov8s", "yolov8m", "yolov8l", "yolov8x", "fastsam_s")
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


def form(user: Any, project: Any) -> list[dict[str, Any]]:
    """The fields of the dialog."""
    fields = [
        _select("detector", "Find objects with", DETECTORS),
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
    return {"async": True, "processed_items": count, "detail": f"Run {run['id']} pre-annotates {count} tasks"}


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
    is_filtered = bool((asked.get("filters") or {}).get("items"))
    if not (selected.get("all") and not selected.get("excluded") and not is_filtered):
        found["ids"] = list(queryset.values_list("id", flat=True))
        if not found["ids"]:
            raise ValidationError("No task is selected")
    return found


def _post(project: Any, path: str, body: dict[str, Any]) -> Any:
    url, headers = _backend(project)
    headers |= {"Content-Type": "application/json", "Accept": "application/json"}
    try:
        with urlopen(Request(url + path, json.dumps(body).encode(), headers), timeout=TIMEOUT_S) as answer:
            return json.load(answer)
    except HTTPError as error:
        raise ValidationError(f"The SAM backend at {url} refused: {_words(error)}") from None
    except (URLError, TimeoutError, ValueError) as error:
        raise ValidationError(f"The SAM backend at {url} does not answer ({error})") from None


def _backend(project: Any) -> tuple[str, dict[str, str]]:
    """The backend's address and how to be let in: of the environment, else of the project's connected model."""
    url = os.environ.get("SAM_BACKEND_URL", "").rstrip("/")
    connected = project.ml_backends.order_by("id").first()
    if not url and connected is None:
        raise ValidationError("This project has no model: connect the SAM backend under Settings > Model")
    user = connected.basic_auth_user if connected is not None else None
    if connected is None or connected.auth_method != "BASIC_AUTH" or (url and url != connected.url.rstrip("/")):
        return url or connected.url.rstrip("/"), {}
    credentials = base64.b64encode(f"{user}:{connected.basic_auth_pass}".encode()).decode()
    return connected.url.rstrip("/"), {"Authorization": f"Basic {credentials}"}


def _words(error: HTTPError) -> str:
    try:
        return str(json.load(error)["error"])
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}"
