"""The Flask application as an ASGI application that reads each request completely before it takes a thread.

The event loop reads bodies under a deadline and a size limit. Then one of three thread pools calls Flask: `control` for
the routes that Label Studio polls, `predict` for clicks and pre-annotation, `pages` for everything else. A pool that is
full refuses with 503 at once. See docs/decisions/web-server.md.
"""

import asyncio
import json
import logging
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

from sam_backend import metrics
from sam_backend.request_ids import HEADER, begin_request, current_request_id
from sam_backend.request_pool import PoolFullError, RequestPool
from sam_backend.settings import MIB, Settings
from sam_backend.web.body_limits import LARGE_BODY_PATHS, body_limit
from sam_backend.web.request_body import BodyFile, BodyMemory, RequestBody

logger = logging.getLogger(__name__)

CONTROL_PATHS = frozenset({"/health", "/ready", "/versions", "/setup", "/metrics"})
CONTROL_THREADS = 4
PAGES_THREADS = 8
WAITING_PER_THREAD = 8  # of the control and pages pools
SMALL_READ_S = 10.0  # maximum, for the headers of a request, and for a small body
UNBUDGETED_BYTES = MIB  # a body up to this size is read even if the memory for bodies is used up
BUDGET_BODIES = 8  # memory for bodies, in bodies of the maximum size
DRAIN_S = 2.0  # for reading the rest of a refused body, so that the client can read the answer
SEND_S = 60.0  # for a client to read an answer
RETRY_AFTER_S = 5
LOG_REFUSALS_EVERY_S = 10.0

Headers = tuple[tuple[bytes, bytes], ...]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class ClientConnection(Protocol):
    """The connection that a request arrived on."""

    def read_into(self, body: RequestBody | None) -> None:
        """Receive the request's body into `body` from now on, as far as `receive` does not return it; None ends it."""

    def request_is_read(self) -> None:
        """Note that the client has sent the whole request."""

    def abort(self) -> None:
        """Close the connection without sending what is left."""


@dataclass(frozen=True)
class Answer:
    """A complete HTTP response."""

    status: int
    headers: Headers
    body: bytes


class RefusedError(Exception):
    """The request is answered without calling Flask."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class ClientGoneError(Exception):
    """The client closed the connection before it had sent the whole request."""


class AsgiAdapter:
    """Call a WSGI application in threads, for each request that has been read completely."""

    def __init__(self, app: WsgiApp, settings: Settings) -> None:
        self.max_connections = settings.max_connections
        self._app = app
        self._settings = settings
        self._body_budget = BUDGET_BODIES * settings.max_body_mib * MIB
        self.headers_timeout_s = min(SMALL_READ_S, settings.read_timeout_s)
        self._control = RequestPool("control", CONTROL_THREADS, WAITING_PER_THREAD * CONTROL_THREADS)
        self._predict = RequestPool("predict", settings.threads, settings.max_waiting)
        self._pages = RequestPool("pages", PAGES_THREADS, WAITING_PER_THREAD * PAGES_THREADS)
        metrics.heavy_running.set_function(lambda: self._predict.running)
        metrics.heavy_waiting.set_function(lambda: self._predict.admitted - self._predict.running)
        self._body_memory = BodyMemory()
        self._buffered = 0  # bytes of all bodies that are being read or answered
        self._deadlines: set[asyncio.Timeout] = set()
        self._is_stopping = False
        self._refusals = 0
        self._next_refusal_log = 0.0
        self.last_prediction = 0.0  # when the last prediction was asked for, in seconds of time.monotonic

    async def __call__(self, scope: Message, receive: Receive, send: Send, connection: ClientConnection) -> None:
        """Answer one request."""
        if scope["type"] != "http":  # a WebSocket: the server refuses it when the application returns
            return
        given = (value for name, value in scope["headers"] if name == HEADER.lower().encode())
        begin_request(next(given, b"").decode("latin-1"))
        limit = self._rules(scope["path"])[1]
        body = RequestBody(partial(self._count, scope["path"], limit), self._body_memory)
        try:
            answer = await self._answer(scope, receive, body, connection)
        except ClientGoneError:
            return
        finally:
            self._buffered -= body.size
            body.close()
        if not body.is_complete:
            answer = Answer(answer.status, (*answer.headers, (b"connection", b"close")), answer.body)
        try:
            async with asyncio.timeout(SEND_S):
                await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
                await send({"type": "http.response.body", "body": answer.body})
        except TimeoutError:
            logger.warning("%s %s: the client did not read the answer within %g s", *_names(scope), SEND_S)
            connection.abort()
            return
        if not body.is_complete and answer.status != 408:
            await _drain(receive)

    def refuse_all(self) -> None:
        """Answer 503 to all requests that are being read or computed: the server is about to exit."""
        self._is_stopping = True
        now = asyncio.get_running_loop().time()
        for deadline in self._deadlines:
            deadline.reschedule(now)

    async def _answer(
        self, scope: Message, receive: Receive, body: RequestBody, connection: ClientConnection
    ) -> Answer:
        pool, limit, timeout_s = self._rules(scope["path"])
        try:
            async with asyncio.timeout(timeout_s) as deadline:
                self._deadlines.add(deadline)
                try:
                    if pool.is_full:
                        raise PoolFullError
                    await self._read(scope, receive, body, limit, connection)
                    connection.request_is_read()
                    if not self._is_stopping:
                        deadline.reschedule(None)
                    if pool is self._predict:
                        self.last_prediction = time.monotonic()
                    return await self._call(pool, scope, body.data())
                finally:
                    self._deadlines.discard(deadline)
        except TimeoutError:
            if self._is_stopping:
                metrics.refused.labels("stopping").inc()
                return error_answer(503, "the server is stopping; try again")
            metrics.refused.labels("slow_client").inc()
            self._log_refusal("%s %s: the request was not complete after %g s", *_names(scope), timeout_s)
            return error_answer(408, f"the request was not complete after {timeout_s:g} s")
        except PoolFullError:
            metrics.refused.labels("busy").inc()
            self._log_refusal("%s %s refused: %d requests are running or waiting", *_names(scope), pool.capacity)
            return error_answer(503, f"overloaded: {pool.capacity} requests are running or waiting; try again")
        except RefusedError as error:
            metrics.refused.labels("too_large" if error.status == 413 else "busy").inc()
            self._log_refusal("%s %s -> %d: %s", *_names(scope), error.status, error)
            return error_answer(error.status, str(error))

    def _rules(self, path: str) -> tuple[RequestPool, int, float]:
        """Return the pool, the limit of the body in bytes, and the time to read it in seconds."""
        other = self._control if path in CONTROL_PATHS else self._pages
        pool = self._predict if path == "/predict" else other
        timeout_s = self._settings.read_timeout_s if path in LARGE_BODY_PATHS else self.headers_timeout_s
        return pool, body_limit(path, self._settings), timeout_s

    async def _read(
        self, scope: Message, receive: Receive, body: RequestBody, limit: int, connection: ClientConnection
    ) -> None:
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if declared.isdigit() and int(declared) > limit:
            raise _too_large(scope["path"], limit)
        connection.read_into(body)
        try:
            while not body.is_complete:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGoneError
                body.is_complete = not message.get("more_body", False)
                body.append(message.get("body", b""))
        finally:
            connection.read_into(None)

    def _count(self, path: str, limit: int, size: int, added: int) -> None:
        """Count bytes that were added to a request's body of now `size`, and refuse the request if it is too large."""
        self._buffered += added
        if size > limit:
            raise _too_large(path, limit)
        if size > UNBUDGETED_BYTES and self._buffered > self._body_budget:
            raise RefusedError(503, "overloaded: the memory for request bodies is used up; try again")

    async def _call(self, pool: RequestPool, scope: Message, body: bytearray) -> Answer:
        is_abandoned = threading.Event()
        environ = wsgi_environ(scope, body)

        def run() -> Answer:
            if is_abandoned.is_set():
                return error_answer(503, "the client closed the connection")
            return call_wsgi(self._app, environ)

        try:
            return await asyncio.wrap_future(pool.submit(run))
        except asyncio.CancelledError:  # the client has gone, or the server stops
            is_abandoned.set()
            raise

    def _log_refusal(self, text: str, *values: object) -> None:
        """Log one refusal in ten seconds, with the number of refusals since, so that a refusal stays cheap."""
        self._refusals += 1
        now = time.monotonic()
        if now >= self._next_refusal_log:
            logger.warning(text + " (refusals since the last such line: %d)", *values, self._refusals)
            self._refusals, self._next_refusal_log = 0, now + LOG_REFUSALS_EVERY_S


def error_answer(status: int, text: str) -> Answer:
    """Return `{"error": text}` as a response; a 503 has the header Retry-After."""
    request_id = current_request_id()
    body = json.dumps({"error": text, "request_id": request_id}).encode()
    headers: Headers = ((b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()))
    if request_id is not None:
        headers += ((HEADER.lower().encode(), request_id.encode()),)
    if status == 503:
        headers += ((b"retry-after", str(RETRY_AFTER_S).encode()),)
    return Answer(status, headers, body)


def wsgi_environ(scope: Message, body: bytearray) -> dict[str, Any]:
    """Return the WSGI environment of an ASGI request with its complete body.

    Source: PEP 3333 and the ASGI specification's HTTP scope.
    """
    server = scope.get("server") or ("localhost", 80)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": scope.get("root_path", ""),
        "PATH_INFO": unquote_to_bytes(scope["raw_path"].partition(b"?")[0]).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": (scope.get("client") or ("",))[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": BodyFile(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").upper().replace("-", "_"), raw_value.decode("latin-1")
        if name not in ("CONTENT_TYPE", "CONTENT_LENGTH", "TRANSFER_ENCODING"):
            name = f"HTTP_{name}"
            value = f"{environ[name]},{value}" if name in environ else value
        environ[name] = value
    environ.pop("TRANSFER_ENCODING", None)
    environ["CONTENT_LENGTH"] = str(len(body))
    return environ


def call_wsgi(app: WsgiApp, environ: dict[str, Any]) -> Answer:
    """Call a WSGI application and return its complete response; an exception becomes a 500."""
    started: list[tuple[int, Headers]] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Callable[..., None]:
        encoded = tuple((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers)
        started[:] = [(int(status.split(None, 1)[0]), encoded)]
        return parts.append

    parts: list[bytes] = []
    try:
        answer = app(environ, start_response)
        try:
            parts.extend(answer)
        finally:
            if hasattr(answer, "close"):
                answer.close()
        status, headers = started[0]
    except Exception:
        logger.exception("%s %s failed", environ["REQUEST_METHOD"], environ["PATH_INFO"][:200])
        return error_answer(500, "internal error: see the backend's log")
    return Answer(status, headers, b"".join(parts) if len(parts) != 1 else parts[0])


async def _drain(receive: Receive) -> None:
    """Read and drop the rest of a body: closing with unread data would reset the connection before the answer."""
    try:
        async with asyncio.timeout(DRAIN_S):
            while (message := await receive())["type"] == "http.request" and message.get("more_body", False):
                pass
    except TimeoutError:
        pass


def _too_large(path: str, limit: int) -> RefusedError:
    source = "the limit of SAM_MAX_BODY_MIB" if path in LARGE_BODY_PATHS else "the limit of this path"
    return RefusedError(413, f"the body is larger than {limit // 1024} KiB, {source}")


def _names(scope: Message) -> tuple[str, str]:
    """Return method and path for the log."""
    return scope["method"], repr(scope["path"][:200])
