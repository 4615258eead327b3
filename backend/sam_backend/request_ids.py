"""Request ids, which connect a request with its log lines and its error response."""

import re
import secrets
from contextvars import ContextVar

HEADER = "X-Request-ID"
_WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{1,64}")
_current: ContextVar[str | None] = ContextVar("request_id", default=None)


def current_request_id() -> str | None:
    """Return the id of the request that this thread or task answers; None outside of requests."""
    return _current.get()


def begin_request(given: str | None) -> str:
    """Set the current id to `given`, the caller's `X-Request-ID`, or to a new id if it is missing or not well-formed.

    Well-formed ids have 1 to 64 letters, digits, dots, underscores or hyphens.
    """
    request_id = given if given is not None and _WELL_FORMED.fullmatch(given) else secrets.token_hex(8)
    _current.set(request_id)
    return request_id


def end_request() -> None:
    """Clear the current id."""
    _current.set(None)
