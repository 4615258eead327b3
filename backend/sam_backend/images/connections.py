"""HTTP connections to IP addresses that were checked before, with one time limit for connecting and reading.

Connections are opened to the IP address, so a second DNS answer has no effect. The Host header, SNI and the name in the
certificate are those of the URL. Proxies of the environment are not used: a proxy would resolve the name again.
"""

import http.client
import ssl
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from socket import SHUT_RDWR, socket
from typing import Self
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.ssl_ import create_urllib3_context

from sam_backend.label_studio.credentials import Origin, is_timeout, origin_of

MAX_IDLE = 16
MAX_DRAINED_BYTES = 65536
CONNECT_TIMEOUT_S = 5.0  # to one of several addresses, before trying the next

_Key = tuple[Origin, str]
_BROKEN = (OSError, http.client.HTTPException, urllib3.exceptions.HTTPError)


class Deadline:
    """The end of the time limit of one image."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._end = time.monotonic() + timeout_s

    @property
    def is_over(self) -> bool:
        """Return whether no time is left."""
        return time.monotonic() >= self._end

    def remaining_s(self) -> float:
        """Return the seconds left, more than 0.

        Raises:
            TimeoutError: no time is left.
        """
        remaining = self._end - time.monotonic()
        if remaining <= 0:
            raise TimeoutError(f"not finished after {self.timeout_s:g} s")
        return remaining


class Connections:
    """Connections that are reused by later requests to the same origin and address. Threads may share it."""

    def __init__(self) -> None:
        self._idle: deque[tuple[_Key, HTTPConnection]] = deque()
        self._lock = threading.Lock()

    def __del__(self) -> None:
        self.close()

    @contextmanager
    def get(
        self, url: str, addresses: Sequence[str], headers: Mapping[str, str], deadline: Deadline
    ) -> Iterator[urllib3.HTTPResponse]:
        """Yield the answer to GET `url`, body unread, from the first of `addresses` that can be connected to.

        Raises:
            TimeoutError: the deadline passed, here or while the caller read the body.
            ConnectionError: connecting failed, or the connection broke, here or while the caller read the body.
        """
        connection: HTTPConnection | None = None
        try:
            for key, connection, is_reused in self._candidates(origin_of(url), addresses):
                is_last = not is_reused and key[1] == addresses[-1]
                with _Watchdog(deadline) as watchdog:
                    try:
                        response = _send(connection, url, headers, deadline, watchdog, is_last_address=is_last)
                    except _BROKEN:
                        connection.close()
                        if deadline.is_over or is_last:
                            raise
                        continue  # the server closed an idle connection, or the address cannot be reached
                    yield response
                    deadline.remaining_s()  # a body without a length seems complete when it was cut off
                    if _is_fully_read(response) and connection.sock is not None:
                        self._keep(key, connection)
                        connection = None
                return
        except _BROKEN as error:
            if deadline.is_over or is_timeout(error):
                raise TimeoutError(f"not finished after {deadline.timeout_s:g} s") from error
            raise ConnectionError(_reason(error)) from error
        finally:
            if connection is not None:
                connection.close()

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            while self._idle:
                self._idle.pop()[1].close()

    def _candidates(self, origin: Origin, addresses: Sequence[str]) -> Iterator[tuple[_Key, HTTPConnection, bool]]:
        for address in addresses:
            idle = self._take((origin, address))
            if idle is not None:
                yield (origin, address), idle, True
                break
        for address in addresses:
            yield (origin, address), self._new(origin, address), False

    def _new(self, origin: Origin, address: str) -> HTTPConnection:
        scheme, host, port = origin
        if scheme == "https":
            return HTTPSConnection(address, port, server_hostname=host, ssl_context=self._ssl_context)
        return HTTPConnection(address, port)

    @cached_property
    def _ssl_context(self) -> ssl.SSLContext:
        context = create_urllib3_context()
        context.load_default_certs()  # the system's, or those of SSL_CERT_FILE
        return context

    def _take(self, key: _Key) -> HTTPConnection | None:
        with self._lock:
            entry = next((entry for entry in self._idle if entry[0] == key), None)
            if entry is None:
                return None
            self._idle.remove(entry)
        connection = entry[1]
        if connection.is_connected:
            return connection
        connection.close()
        return None

    def _keep(self, key: _Key, connection: HTTPConnection) -> None:
        with self._lock:
            self._idle.appendleft((key, connection))  # the newest is reused first, the oldest is closed first
            if len(self._idle) > MAX_IDLE:
                self._idle.pop()[1].close()


class _Watchdog:
    """Shuts a socket down when the deadline passes.

    The socket's own timeout starts again with every byte, so a slow server could keep a thread forever.
    """

    def __init__(self, deadline: Deadline) -> None:
        self._socket: socket | None = None
        self._lock = threading.Lock()
        self._timer = threading.Timer(deadline.remaining_s(), self._shut)
        self._timer.daemon = True

    def watch(self, connection: HTTPConnection) -> None:
        """Set the socket, once: a connection drops its reference when the server is going to close it."""
        with self._lock:
            self._socket = connection.sock

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            self._socket = None  # another request may use the connection from now on

    def _shut(self) -> None:
        with self._lock, suppress(OSError):
            if self._socket is not None:
                socket.shutdown(self._socket, SHUT_RDWR)  # of TCP: the one of TLS would wait for the server


def _send(
    connection: HTTPConnection,
    url: str,
    headers: Mapping[str, str],
    deadline: Deadline,
    watchdog: _Watchdog,
    *,
    is_last_address: bool,
) -> urllib3.HTTPResponse:
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if connection.sock is None:
        remaining_s = deadline.remaining_s()
        connection.timeout = remaining_s if is_last_address else min(CONNECT_TIMEOUT_S, remaining_s)
        connection.connect()
    watchdog.watch(connection)
    connection.timeout = deadline.remaining_s()
    connection.sock.settimeout(connection.timeout)
    connection.request("GET", target, headers={"Host": _host_header(url), **headers}, preload_content=False)
    return connection.getresponse()


def _host_header(url: str) -> str:
    scheme, host, port = origin_of(url)
    name = f"[{host}]" if ":" in host else host.encode("idna").decode()
    return name if port == {"http": 80, "https": 443}[scheme] else f"{name}:{port}"


def _is_fully_read(response: urllib3.HTTPResponse) -> bool:
    """Read the rest of a short answer, such as a redirect; return whether the connection can be reused."""
    length = response.headers.get("Content-Length", "")
    if not response.closed and length.isdecimal() and int(length) <= MAX_DRAINED_BYTES:
        response.read(MAX_DRAINED_BYTES + 1, decode_content=False)
    return response.closed


def _reason(error: Exception) -> str:
    if isinstance(error, urllib3.exceptions.ProtocolError | http.client.IncompleteRead):
        return "the connection broke before the image was complete"
    if isinstance(error, urllib3.exceptions.DecodeError):
        return "the content encoding is broken"
    if isinstance(error, ssl.SSLError | urllib3.exceptions.SSLError):
        return f"no trusted TLS connection ({error})"
    if isinstance(error, ConnectionRefusedError | urllib3.exceptions.NewConnectionError):
        return "the connection was refused"
    return f"the connection broke ({type(error).__name__})"
