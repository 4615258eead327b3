"""Authentication: the password of all routes, the token of `/api/*` and `/metrics`, the secret of webhooks."""

import base64
import hmac

from flask import Response, request

from sam_backend import metrics
from sam_backend.label_studio.webhook_secret import HEADER, webhook_secret
from sam_backend.settings import Settings
from sam_backend.web.responses import error_response


def refusal_without_password(settings: Settings) -> Response | None:
    """Return 401 for a request without the password; None with it, or if the settings have no password."""
    user, password = settings.basic_auth_user, settings.basic_auth_password
    if user is None or password is None:
        return None
    given = _basic_credentials(request.headers.get("Authorization", ""))
    if hmac.compare_digest(given, f"{user}:{password}".encode()):
        return None
    return _unauthorized("this backend requires a user name and a password", "Basic")


def refusal_without_token(settings: Settings) -> Response | None:
    """Return 401 for a request without SAM_API_TOKEN; without that setting, check the password."""
    if settings.api_token is None:
        return refusal_without_password(settings)
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    is_same = hmac.compare_digest(given.strip().encode("utf-8", "replace"), settings.api_token.encode())
    if scheme.lower() == "bearer" and is_same:
        return None
    return _unauthorized(
        "this backend requires its API token (SAM_API_TOKEN): send Authorization: Bearer TOKEN", "Bearer"
    )


def refusal_without_webhook_secret(settings: Settings) -> Response | None:
    """Return 401 for a webhook with neither the password nor the secret derived from it."""
    user, password = settings.basic_auth_user, settings.basic_auth_password
    given = request.headers.get(HEADER)
    if given and user is not None and password is not None:
        expected = webhook_secret(user, password)
        if hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode()):
            return None
    return refusal_without_password(settings)


def _unauthorized(message: str, scheme: str) -> Response:
    metrics.refused.labels("password" if scheme == "Basic" else "token").inc()
    response = error_response(message, 401)
    response.headers["WWW-Authenticate"] = f'{scheme} realm="label-studio-sam"'
    return response


def _basic_credentials(header: str) -> bytes:
    """Return `user:password` of an Authorization header; empty if it has none."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(encoded.strip().encode("ascii"), validate=True)
    except ValueError:
        return b""
