"""Request bodies and JSON responses, for all routes."""

from typing import Any

import orjson
from flask import Response, current_app, request

from sam_backend.errors import BadRequestError
from sam_backend.request_ids import current_request_id
from sam_backend.service.service import Service
from sam_backend.web.request_body import BodyFile

READ_BYTES = 1 << 20


def service() -> Service:
    """Return the service of the current Flask application."""
    found: Service = current_app.extensions["service"]
    return found


def json_response(value: object, status: int = 200) -> Response:
    """Return `value` as JSON; numpy arrays become lists."""
    return Response(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY), status, mimetype="application/json")


def error_response(text: str, status: int) -> Response:
    """Return an error as JSON, with the request id that its log lines have."""
    return json_response({"error": text, "request_id": current_request_id()}, status)


def read_body() -> bytes | bytearray:
    """Return the body of this request, of any content type.

    `AsgiAdapter` has it in memory already; Flask's `get_data` would copy it twice.

    Raises:
        RequestEntityTooLarge: it has more bytes than this route accepts.
    """
    stream, whole = request.stream, request.environ["wsgi.input"]
    if isinstance(whole, BodyFile):
        return whole.data
    body = bytearray()
    while chunk := stream.read(READ_BYTES):
        body += chunk
    return body


def json_body() -> Any:
    """Return the body of this request, parsed as JSON.

    Raises:
        BadRequestError: it is not JSON.
    """
    try:
        return orjson.loads(read_body())
    except orjson.JSONDecodeError as error:
        raise BadRequestError(f"the body is not JSON: {error}") from None
