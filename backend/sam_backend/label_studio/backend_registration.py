"""Connects this backend with a project, as a person does under Settings > Model, and explains Label Studio's answers.

Source: label-studio 1.23.2, ml/serializers.py and ml/api.py (what is checked), webhooks/serializers.py (the webhook
that comes with each backend has a check of its own, so that a refused backend may be there all the same).
"""

import re
from dataclasses import dataclass
from typing import Any

from sam_backend.label_studio.client import Json, LabelStudioApiError, LabelStudioClient
from sam_backend.label_studio.webhook_secret import HEADER, webhook_secret

OLDEST = (1, 20, 0)  # of Label Studio, that was tried
PRIVATE_ADDRESS = (
    "Label Studio refuses backends on private addresses: start Label Studio with ML_BLOCK_LOCAL_IP=false and "
    "SSRF_PROTECTION_ENABLED=false (the first alone is not enough: the webhook is checked by the second)"
)
NOT_REACHED = (
    "Label Studio does not reach the backend there: --url must be the address that Label Studio's own machine sees "
    "(with Docker the container's name, such as http://sam:9090, not localhost); a public name must be in the "
    "backend's SAM_ALLOWED_HOSTS"
)

ASKS_FOR_ONE = (
    "The backend asks for a password: run this command with its SAM_BASIC_AUTH_USER and SAM_BASIC_AUTH_PASSWORD"
)


class RegistrationError(Exception):
    """Label Studio refused; the message says what it answered and what helps."""


@dataclass(frozen=True)
class BackendRegistration:
    """The project's entry for this backend."""

    id: int
    url: str
    is_new: bool
    is_interactive: bool
    model_version: str


def check_version(api: LabelStudioClient) -> str:
    """Label Studio's version.

    Raises:
        NotConnectedError: it is older than what this backend was tried with, or is no Label Studio.
        LabelStudioApiError: no answer.
    """
    answer = api.call("GET", "/api/version", with_token=False)
    found = re.match(r"\d{1,4}(\.\d{1,6}){1,3}", str(answer.get("release"))) if isinstance(answer, dict) else None
    if found is None:
        raise RegistrationError("LABEL_STUDIO_URL is not the address of a Label Studio: /api/version names no release")
    release = found[0]
    if tuple(map(int, release.split("."))) < OLDEST:
        needed = ".".join(map(str, OLDEST))
        raise RegistrationError(f"Label Studio {release} is too old; needed: {needed} or newer")
    return release


def connect(
    api: LabelStudioClient,
    project: int,
    url: str,
    title: str,
    extra_params: dict[str, Any] | None = None,
    password: tuple[str, str] | None = None,
) -> BackendRegistration:
    """Add the backend to a project, or bring the entry that it has up to date; never a second one.

    Args:
        api: as whom.
        project: its number.
        url: of the backend, as Label Studio sees it.
        title: what people see.
        extra_params: the pre-annotation that the project wants; None leaves what is there.
        password: user name and password that the backend asks for; None leaves what is there.

    Raises:
        NotConnectedError: Label Studio refuses, or does not reach the backend.
        LabelStudioApiError: Label Studio does not answer, or does not know project or token.
    """
    known = _entry(api, project, url)
    wanted: dict[str, Any] = {"project": project, "url": url, "title": title, "is_interactive": True}
    if extra_params is not None:
        wanted["extra_params"] = extra_params
    if password is not None:
        user, secret = password
        wanted |= {"auth_method": "BASIC_AUTH", "basic_auth_user": user, "basic_auth_pass": secret}
    try:
        if known is None:
            api.call("POST", "/api/ml/", wanted)
        else:
            api.call("PATCH", f"/api/ml/{known['id']}", wanted)
    except LabelStudioApiError as error:
        raise _explained(error, is_there=_entry(api, project, url) is not None, url=url) from error
    entry = _entry(api, project, url)
    if entry is None or entry.get("state") != "CO":
        said = (entry or {}).get("error_message") or "it is not connected"
        raise RegistrationError(f"Label Studio says of {url}: {said}. {NOT_REACHED}")
    webhook = _webhook(api, project, url)
    if webhook is None:
        raise RegistrationError(f"Label Studio made no webhook for {url}. {PRIVATE_ADDRESS}")
    if password is not None:
        _set_secret(api, webhook, webhook_secret(*password))
    return BackendRegistration(
        int(entry["id"]), url, known is None, bool(entry.get("is_interactive")), str(entry.get("model_version") or "")
    )


def _entry(api: LabelStudioClient, project: int, url: str) -> Json | None:
    entries = api.call("GET", "/api/ml/", query={"project": project})
    return next((entry for entry in entries if str(entry["url"]).rstrip("/") == url.rstrip("/")), None)


def _webhook(api: LabelStudioClient, project: int, url: str) -> Json | None:
    hooks = api.call("GET", "/api/webhooks/", query={"project": project})
    return next((hook for hook in hooks if str(hook.get("url", "")).startswith(url.rstrip("/"))), None)


def _set_secret(api: LabelStudioClient, webhook: Json, secret: str) -> None:
    """Let the event webhook carry the secret, since Label Studio sends no password with it."""
    kept = {name: webhook[name] for name in ("actions", "send_for_all_actions") if name in webhook}  # else emptied
    headers = {**(webhook.get("headers") or {}), HEADER: secret}
    api.call("PATCH", f"/api/webhooks/{webhook['id']}/", {**kept, "headers": headers})


def _explained(error: LabelStudioApiError, *, is_there: bool, url: str) -> Exception:
    words = str(error)
    if "reserved network" in words or "URL resolves" in words:
        more = " The backend is in the list now, but without its webhook." if is_there else ""
        return RegistrationError(f"{words}.{more} {PRIVATE_ADDRESS}")
    if "authentication parameters" in words:
        return RegistrationError(f"{words} {ASKS_FOR_ONE}")
    if "Can't connect" in words or "valid ML backend" in words or "not connect" in words.lower():
        return RegistrationError(f"{words}. {NOT_REACHED}")
    if error.status in (401, 403):
        return RegistrationError(f"{words}. This token's user may not change the project at {url}")
    return error
