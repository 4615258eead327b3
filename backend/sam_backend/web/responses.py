"""What all routes share: the parts of the service, JSON in and out."""

import io
from typing import Any

import orjson
from flask import Response, current_app, request

from sam_backend.errors import BadRequestError
from sam_backend.request_ids import current_request_id
from sam_backend.service.service import Service

READ_BYTES = 1 << 20


def service() -> Service:
    """The parts that this app was made of."""
    found: Service = current_app.extensions["service"]
    return found


def json_response(value: object, status: int = 200) -> Response:
    """`value` as JSON; numpy arrays become lists."""
    return Response(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY), status, mimetype="application/json")


def error_response(text: str, status: int) -> Response:
    """Return an error as JSON, with the id of the request, by which its lines of the log are found."""
    return json_response({"error": text, "request_id": current_request_id()}, status)


def read_body() -> bytes | bytearray:
    """Return the body of this request, whatever its content type says.

    It is held in memory once; Flask's own `get_data` would hold it twice while it is read.

    Raises:
        RequestEntityTooLarge: it has more bytes than this route takes.
    """
    stream, whole = request.stream, request.environ["wsgi.input"]
    if type(whole) is io.BytesIO and len(whole.getvalue()) == request.content_length:
        return whole.getvalue()  # the bytes themselves: CPython copies nothing
    body = bytearray()
    while chunk := stream.read(READ_BYTES):
        body += chunk
    return body


def json_body() -> Any:
    """The body of this request, read as JSON.

    Raises:
        BadRequestError: it is no JSON.
    """
    try:
        return orjson.loads(read_body())
    except orjson.JSONDecodeError as error:
        raise BadRequestError(f"the body is not JSON: {error}") from None
