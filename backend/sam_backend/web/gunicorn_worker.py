"""Gunicorn's ASGI worker with deadlines for slow clients, a limit of connections, and a stop that answers all requests.

Large bodies do not pass gunicorn's parser, which copies each byte three times: the kernel writes them where they stay.

Built on gunicorn 27: `ASGIWorker._serve`, `ASGIProtocol.app`, `ASGIProtocol._send_error_response` and the state of its
parser in a body (`HttpConnection._bytes_left`) are not documented by gunicorn, so pyproject.toml names the version.
Everything else is asyncio's own interface.
"""

import asyncio
import json
import logging
import os
import sys
from typing import Any

from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.workers.gasgi import ASGIWorker

from sam_backend.web.asgi_adapter import Message, Receive, Send
from sam_backend.web.malloc import trim_regularly
from sam_backend.web.request_body import RequestBody

logger = logging.getLogger(__name__)

STOP_S = 8.0  # after SIGTERM, for requests to be answered; the others get 503; Docker kills after 10 s
IDLE_STOP_S = 0.5  # after SIGTERM, before idle connections are closed
SWITCH_S = 0.001  # for the event loop to get Python's lock from a computing thread; with Python's 5 ms answers are late
FLUSH_S = 1.0  # for the last answers to be sent
BUFFER_BYTES = 1 << 18  # for what one call receives of small requests


class HttpConnection(ASGIProtocol, asyncio.BufferedProtocol):  # type: ignore[misc]  # gunicorn ships no types
    """One client's connection."""

    def __init__(self, worker: "WebWorker") -> None:
        super().__init__(worker)
        self._adapter = worker.asgi
        self.app = self._answer
        self._headers_deadline: asyncio.TimerHandle | None = None
        self._has_sent_bytes = False  # of a request whose headers are not complete yet
        self._is_answering = False
        self._body: RequestBody | None = None  # receives the body of the request
        self._space: memoryview | None = None  # of it, while the kernel writes there
        self._body_is_read: asyncio.Future[None] | None = None  # somebody waits for the rest of the body

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection and start the deadline of its first request."""
        super().connection_made(transport)
        self.worker.register(self)
        self._wait_for_headers()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return memory for the next bytes of the socket."""
        left = self._bytes_left() if self._body_is_read is not None else 0
        if self._body is None or not left:
            return memoryview(self.worker.buffer)
        self._space = self._body.space(left)
        return self._space

    def buffer_updated(self, nbytes: int) -> None:
        """Take the bytes that were written into the memory of `get_buffer`."""
        space, self._space = self._space, None
        if space is None:
            self.data_received(bytes(memoryview(self.worker.buffer)[:nbytes]))
            return
        space.release()
        waiting, parser = self._body_is_read, self._callback_parser
        assert self._body is not None
        assert waiting is not None
        parser._body_remaining -= nbytes
        if not parser._body_remaining:
            parser._state, parser.is_complete = "complete", True
            self._on_message_complete()
        try:
            self._body.fill(nbytes)
        except Exception as error:  # noqa: BLE001  # it is raised in the task that waits
            if not waiting.done():
                waiting.set_exception(error)
        else:
            if parser.is_complete and not waiting.done():
                waiting.set_result(None)

    def _bytes_left(self) -> int:
        """Return how many bytes of a request's body the parser would still get; 0 while others are on their way."""
        parser, receiver = self._callback_parser, self._body_receiver
        if parser is None or receiver is None or receiver.buffered or receiver.expect_continue:
            return 0
        left: int = parser._body_remaining if parser._state == "body" else 0
        return left

    def data_received(self, data: bytes) -> None:
        """Feed the parser; the first bytes of a request start the deadline of its headers."""
        if not self._is_answering:
            self._has_sent_bytes = True
            self._wait_for_headers()
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._headers_are_read()
        if self._body_is_read is not None and not self._body_is_read.done():
            self._body_is_read.set_result(None)
        self.worker.forget(self)
        super().connection_lost(exc)

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        self._headers_are_read()
        self._is_answering = True

        async def receive_rest() -> Message:
            if self._body is not None and self._bytes_left() and not self._closed:
                self._body_is_read = self.worker.loop.create_future()
                try:
                    await self._body_is_read
                finally:
                    self._body_is_read = None
            return await receive()

        try:
            await self._adapter(scope, receive_rest, send, self)
        finally:
            self._is_answering = self._has_sent_bytes = False
            self.worker.wait_for_request(self)

    def read_into(self, body: RequestBody | None) -> None:
        """Receive the rest of the request's body into `body`, without the parser; None ends that."""
        self._body = body

    def request_is_read(self) -> None:
        """Note that the client has sent the whole request, which excludes the connection from `register`'s closing."""
        self.worker.is_read(self)

    @property
    def is_idle(self) -> bool:
        """Return whether every request that has started to arrive is answered."""
        return not (self._is_answering or self._has_sent_bytes)

    def close(self) -> None:
        """Close the connection once what was written is sent."""
        self.transport.close()

    def abort(self) -> None:
        """Close the connection without sending what is left."""
        self.transport.abort()

    def _wait_for_headers(self) -> None:
        if self._headers_deadline is None:
            self._headers_deadline = self.worker.loop.call_later(
                self._adapter.headers_timeout_s, self._headers_are_late
            )

    def _headers_are_read(self) -> None:
        if self._headers_deadline is not None:
            self._headers_deadline.cancel()
            self._headers_deadline = None

    def _headers_are_late(self) -> None:
        if self._has_sent_bytes:
            limit_s = self._adapter.headers_timeout_s
            self._send_error_response(408, f"the request's headers were not complete after {limit_s:g} s")
        self.close()

    def _send_error_response(self, status: int, message: str, extra_headers: Any = ()) -> None:
        """Answer bytes that are not HTTP with a JSON error, as all other errors."""
        headers = (("Content-Type", "application/json"), *extra_headers)
        super()._send_error_response(status, json.dumps({"error": message}), headers)


class WebWorker(ASGIWorker):  # type: ignore[misc]  # gunicorn ships no types
    """The process that answers requests with one event loop; `asgi` is an `AsgiAdapter`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connections: set[HttpConnection] = set()
        self._unread: dict[HttpConnection, None] = {}  # without a complete request; the oldest first
        self.buffer = bytearray(BUFFER_BYTES)  # of all connections: each takes its bytes at once

    def register(self, connection: HttpConnection) -> None:
        """Count a new connection; above the limit, close the one that has been without a complete request longest."""
        if len(self._connections) >= self.asgi.max_connections:
            oldest = next(iter(self._unread), connection)
            logger.debug("%d connections are open; closing the oldest idle one", len(self._connections))
            self.forget(oldest)
            oldest.abort()
            if oldest is connection:
                return
        self._connections.add(connection)
        self._unread[connection] = None

    def wait_for_request(self, connection: HttpConnection) -> None:
        """Note that a connection was answered and may send another request."""
        if connection in self._connections:
            self._unread.pop(connection, None)
            self._unread[connection] = None

    def is_read(self, connection: HttpConnection) -> None:
        """Note that the request of a connection is complete."""
        self._unread.pop(connection, None)

    def forget(self, connection: HttpConnection) -> None:
        """Remove a connection that is closed."""
        self._connections.discard(connection)
        self._unread.pop(connection, None)

    async def _serve(self) -> None:
        sys.setswitchinterval(SWITCH_S)
        for listener in self.sockets:
            server = await self.loop.create_server(
                lambda: HttpConnection(self), sock=listener.sock, backlog=self.cfg.backlog
            )
            self.servers.append(server)
        trimming = self.loop.create_task(trim_regularly(lambda: self.asgi.last_prediction))
        while self.alive and self.ppid == os.getppid():
            self.notify()
            await asyncio.sleep(0.2)
        trimming.cancel()
        if not self._quick_shutdown:
            await self._stop()

    async def _stop(self) -> None:
        """Answer every request whose connection was accepted, then return."""
        self.alive = False  # answers say `Connection: close` from now on
        await asyncio.sleep(0.05)  # accept what the kernel has queued
        for server in self.servers:
            server.close()
        began = self.loop.time()
        while self._connections and self.loop.time() < began + STOP_S and not self._quick_shutdown:
            self.notify()
            if self.loop.time() > began + IDLE_STOP_S:
                for connection in [each for each in self._connections if each.is_idle]:
                    connection.close()
            await asyncio.sleep(0.05)
        self.asgi.refuse_all()
        flushed = self.loop.time() + FLUSH_S
        while self._connections and self.loop.time() < flushed and not self._quick_shutdown:
            await asyncio.sleep(0.02)
