"""HTTP connections to IP addresses that were checked before, with one time limit for everything.

The connection is opened to the address, not to the name, so that no second DNS answer can lead elsewhere; the
Host header, SNI and the certificate's name remain those of the URL. Proxies of the environment are not used: a
proxy would look the name up again.
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
CONNECT_TIMEOUT_S = 5.0  # to one of several addresses, before the next is tried

_Key = tuple[Origin, str]
_BROKEN = (OSError, http.client.HTTPException, urllib3.exceptions.HTTPError)


class Deadline:
    """The end of the time that one image may take."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._end = time.monotonic() + timeout_s

    @property
    def is_over(self) -> bool:
        """Whether the time has run out."""
        return time.monotonic() >= self._end

    def remaining_s(self) -> float:
        """Seconds left, more than 0.

        Raises:
            TimeoutError: none.
        """
        remaining = self._end - time.monotonic()
        if remaining <= 0:
            raise TimeoutError(f"not finished after {self.timeout_s:g} s")
        return remaining


class Connections:
    """Keeps connections open between requests, for each origin and address apart. Threads may share it."""

    def __init__(self) -> None:
        self._idle: deque[tuple[_Key, HTTPConnection]] = deque()
        self._lock = threading.Lock()

    def __del__(self) -> None:
        self.close()

    @contextmanager
    def get(
        self, url: str, addresses: Sequence[str], headers: Mapping[str, str], deadline: Deadline
    ) -> Iterator[urllib3.HTTPResponse]:
        """The answer to GET `url`, body unread, from the first of `addresses` that takes the connection.

        Raises:
            TimeoutError: the deadline passed, in here or while the body was read.
            ConnectionError: no connection, or it broke, in here or while the body was read.
        """
        connection: HTTPConnection | None = None
        try:
            for key, connection, is_reused in self._candidates(origin_of(url), addresses):
                is_last = not is_reused and key[1] == addresses[-1]
                with _CutOff(deadline) as cut_off:
                    try:
                        response = _ask(connection, url, headers, deadline, cut_off, is_patient=is_last)
                    except _BROKEN:
                        connection.close()
                        if deadline.is_over or is_last:
                            raise
                        continue  # a kept connection that the server closed, or an address that is not there
                    yield response
                    deadline.remaining_s()  # a body without a length looks complete when it was cut off
                    if _is_read_to_its_end(response) and connection.sock is not None:
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
        """Close what is open and unused."""
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
            self._idle.appendleft((key, connection))  # the newest is taken first, the oldest goes first
            if len(self._idle) > MAX_IDLE:
                self._idle.pop()[1].close()


class _CutOff:
    """Shuts a socket when the deadline passes, whatever is being waited for.

    A socket's own timeout starts again with every byte, so a server could drip for ever.
    """

    def __init__(self, deadline: Deadline) -> None:
        self._socket: socket | None = None
        self._lock = threading.Lock()
        self._timer = threading.Timer(deadline.remaining_s(), self._shut)
        self._timer.daemon = True

    def watch(self, connection: HTTPConnection) -> None:
        """The socket to shut; asked for once, since a connection forgets it when the answer will close it."""
        with self._lock:
            self._socket = connection.sock

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            self._socket = None  # the connection may be someone else's from here on

    def _shut(self) -> None:
        with self._lock, suppress(OSError):
            if self._socket is not None:
                socket.shutdown(self._socket, SHUT_RDWR)  # TCP's: the one of TLS would want to say goodbye


def _ask(
    connection: HTTPConnection,
    url: str,
    headers: Mapping[str, str],
    deadline: Deadline,
    cut_off: _CutOff,
    *,
    is_patient: bool,
) -> urllib3.HTTPResponse:
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if connection.sock is None:
        remaining_s = deadline.remaining_s()
        connection.timeout = remaining_s if is_patient else min(CONNECT_TIMEOUT_S, remaining_s)
        connection.connect()
    cut_off.watch(connection)
    connection.timeout = deadline.remaining_s()
    connection.sock.settimeout(connection.timeout)
    connection.request("GET", target, headers={"Host": _host_header(url), **headers}, preload_content=False)
    return connection.getresponse()


def _host_header(url: str) -> str:
    scheme, host, port = origin_of(url)
    name = f"[{host}]" if ":" in host else host.encode("idna").decode()
    return name if port == {"http": 80, "https": 443}[scheme] else f"{name}:{port}"


def _is_read_to_its_end(response: urllib3.HTTPResponse) -> bool:
    """Reads what is left of a short answer, a redirect's say, so that the connection can be used again."""
    length = response.headers.get("Content-Length", "")
    if not response.closed and length.isdecimal() and int(length) <= MAX_DRAINED_BYTES:
        response.read(MAX_DRAINED_BYTES + 1, decode_content=False)
    return response.closed


def _reason(error: Exception) -> str:
    if isinstance(error, urllib3.exceptions.ProtocolError | http.client.IncompleteRead):
        return "the connection broke before the picture was complete"
    if isinstance(error, urllib3.exceptions.DecodeError):
        return "the content encoding is broken"
    if isinstance(error, ssl.SSLError | urllib3.exceptions.SSLError):
        return f"no trusted TLS connection ({error})"
    if isinstance(error, ConnectionRefusedError | urllib3.exceptions.NewConnectionError):
        return "the connection was refused"
    return f"the connection broke ({type(error).__name__})"
