"""HTTP client of Label Studio's API: one call with the token, and errors with Label Studio's message.

Source: label-studio 1.23.2, its API reference and the answers of its server.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import urllib3

from sam_backend.errors import LabelStudioError, LabelStudioForbiddenError
from sam_backend.label_studio.connections import label_studio_pool
from sam_backend.label_studio.credentials import Credential, LabelStudioCredentials
from sam_backend.redaction import mask_userinfo

REQUEST_TIMEOUT_S = 120.0  # Label Studio itself waits up to 100 s for a backend
PAGE_SIZE = 100
MAX_QUOTED = 500  # characters of an answer in a message

Json = Any  # parsed JSON before it becomes a value


class LabelStudioApiError(Exception):
    """A call of Label Studio's API failed; the message names the call, the status and Label Studio's own message.

    `status` is None without an answer; `retry_after_s` is the answer's Retry-After header in seconds.
    """

    def __init__(self, message: str, status: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status, self.retry_after_s = status, retry_after_s

    @property
    def is_transient(self) -> bool:
        """Return whether the same call may succeed later: no answer, too many requests, or a server error."""
        return self.status is None or self.status == 429 or self.status >= 500


class LabelStudioClient:
    """Label Studio's API with one user's token; threads may share it."""

    def __init__(self, access: LabelStudioCredentials, timeout_s: float = REQUEST_TIMEOUT_S) -> None:
        self._access = access
        self._http = label_studio_pool(timeout_s, maxsize=8)

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
        """Send one request and return the JSON of the answer.

        Args:
            method: such as GET.
            path: such as /api/projects/.
            body: sent as JSON.
            query: parameters of the URL.
            fields: form fields with a file each: name -> (file name, content).
            text: a body that is JSON already.
            with_token: whether to send the token.

        Raises:
            LabelStudioApiError: no answer, or a status other than success. The message quotes the answer only if the
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
            renewed = self._renewed_authorization(options["headers"]["Authorization"], known)
            if renewed is not None:  # the bearer token has expired; a 401 changed nothing, so the call can be repeated
                options["headers"]["Authorization"] = renewed
                response = _send(self._http, method, url, **options)
        if response.status == 401 and with_token:
            self._access.note_refusal(known)
        return _json(f"{method} {path}", response, is_quoted=known.is_url_from_settings)

    def _authorization(self, known: Credential) -> str:
        return _with_api_errors(lambda: self._access.authorization(known)) or ""

    def _renewed_authorization(self, refused: str, known: Credential) -> str | None:
        return _with_api_errors(lambda: self._access.renewed_authorization(refused, known))


def _with_api_errors(authorization: Callable[[], str | None]) -> str | None:
    try:
        return authorization()
    except LabelStudioForbiddenError as error:
        raise LabelStudioApiError(str(error), 401) from error
    except LabelStudioError as error:
        raise LabelStudioApiError(str(error)) from error


def _send(http: urllib3.PoolManager, method: str, url: str, **options: Any) -> urllib3.BaseHTTPResponse:
    try:
        return http.request(method, url, **options)
    except urllib3.exceptions.HTTPError as error:
        reason = str(error).rpartition("] ")[2].rpartition(": ")[2]  # without urllib3's objects and numbers
        raise LabelStudioApiError(
            f"{method} {urlsplit(url).path}: Label Studio cannot be reached ({reason})"
        ) from error


def _json(call: str, response: urllib3.BaseHTTPResponse, *, is_quoted: bool) -> Json:
    text = response.data.decode("utf-8", "replace")
    if response.status in (200, 201, 204) and not text and not call.startswith("GET "):
        return None
    if response.status not in (200, 201):
        if 300 <= response.status < 400:
            location = response.headers.get("Location", "no address").partition("?")[0]
            text = f"redirect to {mask_userinfo(location)}"
        message = ": a web page" if text.lstrip().startswith("<") else f": {_error_message(text)}"
        after = response.headers.get("Retry-After", "")
        retry_after_s = float(after) if after.isdecimal() else None
        message = message if is_quoted else ""
        raise LabelStudioApiError(f"{call} answered {response.status}{message}", response.status, retry_after_s)
    try:
        return json.loads(text)
    except ValueError:
        raise LabelStudioApiError(f"{call} answered no JSON{f': {text[:200]}' if is_quoted else ''}") from None


def _error_message(text: str) -> str:
    """Return `detail` and the validation errors of Label Studio's error JSON, or the text itself."""
    try:
        answer = json.loads(text)
    except ValueError:
        return text[:MAX_QUOTED]
    if not isinstance(answer, dict):
        return text[:MAX_QUOTED]
    parts = (str(answer.get("detail") or ""), _flat(answer.get("validation_errors")))
    return ": ".join(part for part in parts if part)[:MAX_QUOTED] or text[:MAX_QUOTED]


def _flat(errors: Json) -> str:
    """Join the texts in Django's nested lists and objects of errors."""
    if isinstance(errors, dict):
        return "; ".join(_flat(each) for each in errors.values())
    if isinstance(errors, list):
        return "; ".join(_flat(each) for each in errors)
    return str(errors or "")
