"""What all routes share: the parts of the service, JSON in and out, and the password."""

import base64
import hmac
import io
from typing import Any

import orjson
from flask import Response, current_app, request

from sam_backend import metrics
from sam_backend.assembly import Service
from sam_backend.errors import BadRequestError
from sam_backend.request_ids import current_request_id
from sam_backend.settings import Settings

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
    """The body of this request, read as JSON whatever its content type says.

    Raises:
        BadRequestError: it is no JSON.
    """
    try:
        return orjson.loads(read_body())
    except orjson.JSONDecodeError as error:
        raise BadRequestError(f"the body is not JSON: {error}") from None


def refusal_without_password(settings: Settings) -> Response | None:
    """401 for a caller without the password of the settings; None for one who has it, and where there is none."""
    user, password = settings.basic_auth_user, settings.basic_auth_password
    if user is None or password is None:
        return None
    given = _basic_credentials(request.headers.get("Authorization", ""))
    if hmac.compare_digest(given, f"{user}:{password}".encode()):
        return None
    metrics.refused.labels("password").inc()
    response = error_response("this backend asks for a user name and a password", 401)
    response.headers["WWW-Authenticate"] = 'Basic realm="label-studio-sam"'
    return response


def _basic_credentials(header: str) -> bytes:
    """`user:password` of an Authorization header; empty where it holds none."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(encoded.strip().encode("ascii"), validate=True)
    except ValueError:
        return b""
