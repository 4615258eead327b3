"""Registration of this backend with a project, as under Settings > Model, with Label Studio's refusals explained.

Source: label-studio 1.23.2, ml/serializers.py and ml/api.py (checks of the backend), webhooks/serializers.py (each
backend gets a webhook, which has a check of its own: a backend may be registered although Label Studio answers with an
error).
"""

import json
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from sam_backend.label_studio.client import Json, LabelStudioApiError, LabelStudioClient
from sam_backend.label_studio.webhook_secret import HEADER, webhook_secret

OLDEST_VERSION = (1, 20, 0)  # of Label Studio; older ones are untested
PRIVATE_ADDRESS = (
    "Label Studio refuses backends on private addresses: start Label Studio with ML_BLOCK_LOCAL_IP=false and "
    "SSRF_PROTECTION_ENABLED=false (the first alone is not enough: the webhook is checked by the second)"
)
NOT_REACHED = (
    "Label Studio does not reach the backend there: --url must be the address that Label Studio's own machine sees "
    "(with Docker the container's name, such as http://sam:9090, not localhost); a public name must be in the "
    "backend's SAM_ALLOWED_HOSTS"
)
LOGIN_NEEDED = (
    "The backend asks for a password: run this command with its SAM_BASIC_AUTH_USER and SAM_BASIC_AUTH_PASSWORD"
)


class RegistrationError(Exception):
    """Label Studio refused the registration; the message holds its answer and the fix."""


@dataclass(frozen=True)
class BackendRegistration:
    """A project's entry for an ML backend."""

    id: int
    url: str
    title: str
    is_connected: bool
    is_interactive: bool
    model_version: str
    error_message: str
    extra_params: Json = field(default_factory=dict)
    is_new: bool = False  # created by this call of `connect`

    @classmethod
    def from_json(cls, item: Json) -> "BackendRegistration":
        """Parse an entry as Label Studio's API returns it."""
        return cls(
            id=int(item["id"]),
            url=str(item["url"]),
            title=str(item.get("title") or ""),
            is_connected=item.get("state") == "CO",
            is_interactive=bool(item.get("is_interactive")),
            model_version=str(item.get("model_version") or ""),
            error_message=str(item.get("error_message") or ""),
            extra_params=_json_object(item.get("extra_params")),
        )


def _json_object(value: object) -> Json:
    """Return the extra parameters; Label Studio's editor may have stored JSON text."""
    if isinstance(value, str):
        with suppress(ValueError):
            value = json.loads(value)
    return value if isinstance(value, dict) else {}


def check_version(api: LabelStudioClient) -> str:
    """Return Label Studio's version.

    Raises:
        RegistrationError: the version is too old, or the server is not a Label Studio.
        LabelStudioApiError: no answer.
    """
    answer = api.call("GET", "/api/version", with_token=False)
    found = re.match(r"\d{1,4}(\.\d{1,6}){1,3}", str(answer.get("release"))) if isinstance(answer, dict) else None
    if found is None:
        raise RegistrationError("LABEL_STUDIO_URL is not the address of a Label Studio: /api/version names no release")
    release = found[0]
    if tuple(map(int, release.split("."))) < OLDEST_VERSION:
        needed = ".".join(map(str, OLDEST_VERSION))
        raise RegistrationError(f"Label Studio {release} is too old; needed: {needed} or newer")
    return release


def registrations(api: LabelStudioClient, project: int) -> list[BackendRegistration]:
    """Return the ML backends of a project; Label Studio checks the health of each one before it answers."""
    return [BackendRegistration.from_json(item) for item in api.call("GET", "/api/ml/", query={"project": project})]


def connect(
    api: LabelStudioClient,
    project: int,
    url: str,
    title: str,
    extra_params: dict[str, Any] | None = None,
    password: tuple[str, str] | None = None,
) -> BackendRegistration:
    """Register the backend with a project, or update its registration; never create a second one.

    Args:
        api: of a user who may change the project.
        project: its number.
        url: of the backend, as Label Studio's machine reaches it.
        title: shown in Label Studio.
        extra_params: configuration of the project's pre-annotation; None leaves the present one.
        password: user name and password of the backend; None leaves the present ones.

    Raises:
        RegistrationError: Label Studio refuses, or does not reach the backend.
        LabelStudioApiError: Label Studio does not answer, or knows neither project nor token.
    """
    known = _find(api, project, url)
    body: dict[str, Any] = {"project": project, "url": url, "title": title, "is_interactive": True}
    if extra_params is not None:
        body["extra_params"] = extra_params
    if password is not None:
        user, secret = password
        body |= {"auth_method": "BASIC_AUTH", "basic_auth_user": user, "basic_auth_pass": secret}
    try:
        if known is None:
            api.call("POST", "/api/ml/", body)
        else:
            api.call("PATCH", f"/api/ml/{known.id}", body)
    except LabelStudioApiError as error:
        raise _explained(error, is_registered=_find(api, project, url) is not None, url=url) from error
    registration = _find(api, project, url)
    if registration is None or not registration.is_connected:
        reason = (registration.error_message if registration else "") or "it is not connected"
        raise RegistrationError(f"Label Studio could not connect {url}: {reason}. {NOT_REACHED}")
    webhook = _webhook(api, project, url)
    if webhook is None:
        raise RegistrationError(f"Label Studio created no webhook for {url}. {PRIVATE_ADDRESS}")
    if password is not None:
        _set_secret(api, webhook, webhook_secret(*password))
    return replace(registration, url=url, is_new=known is None)


def _find(api: LabelStudioClient, project: int, url: str) -> BackendRegistration | None:
    return next((one for one in registrations(api, project) if one.url.rstrip("/") == url.rstrip("/")), None)


def _webhook(api: LabelStudioClient, project: int, url: str) -> Json | None:
    hooks = api.call("GET", "/api/webhooks/", query={"project": project})
    return next((hook for hook in hooks if str(hook.get("url", "")).startswith(url.rstrip("/"))), None)


def _set_secret(api: LabelStudioClient, webhook: Json, secret: str) -> None:
    """Add the secret to the webhook's headers, because Label Studio sends no password with event webhooks."""
    kept = {name: webhook[name] for name in ("actions", "send_for_all_actions") if name in webhook}  # else emptied
    headers = {**(webhook.get("headers") or {}), HEADER: secret}
    api.call("PATCH", f"/api/webhooks/{webhook['id']}/", {**kept, "headers": headers})


def _explained(error: LabelStudioApiError, *, is_registered: bool, url: str) -> Exception:
    message = str(error)
    if "reserved network" in message or "URL resolves" in message:
        more = " The backend is registered now, but without its webhook." if is_registered else ""
        return RegistrationError(f"{message}.{more} {PRIVATE_ADDRESS}")
    if "authentication parameters" in message:
        return RegistrationError(f"{message} {LOGIN_NEEDED}")
    if "Can't connect" in message or "valid ML backend" in message or "not connect" in message.lower():
        return RegistrationError(f"{message}. {NOT_REACHED}")
    if error.status in (401, 403):
        return RegistrationError(f"{message}. This token's user may not change the project at {url}")
    return error
