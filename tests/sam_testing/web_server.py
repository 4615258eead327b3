"""A web server with answers chosen by the test."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext


@dataclass(frozen=True)
class Asked:
    """A received request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: int  # numbers the connections


@dataclass(frozen=True)
class Answer:
    """An answer; a body in pieces is sent piece by piece and ends with the connection."""

    body: bytes | Iterable[bytes] = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class WebServer:
    """A running server and the requests that it received."""

    port: int
    asked: list[Asked]

    @property
    def url(self) -> str:
        """Return the server's URL, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def paths(self) -> list[str]:
        """Return the requested paths, in order."""
        return [asked.path for asked in self.asked]

    @property
    def authorizations(self) -> list[str | None]:
        """Return the Authorization header of each request."""
        return [asked.headers.get("authorization") for asked in self.asked]


@contextmanager
def serving(answer: Callable[[Asked], Answer], tls: SSLContext | None = None) -> Iterator[WebServer]:
    """Start a server on a free port of 127.0.0.1."""
    asked: list[Asked] = []
    connections: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # header and body in one packet
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            connections.append(len(connections))
            self.number = connections[-1]

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked.append(Asked(self.command, self.path, headers, self.rfile.read(length), self.number))
            reply = answer(asked[-1])
            self.send_response_only(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            try:
                self._send(reply)
            except OSError:  # the client went away
                self.close_connection = True

        def do_POST(self) -> None:
            self.do_GET()

        def do_PATCH(self) -> None:
            self.do_GET()

        def do_HEAD(self) -> None:
            self.do_GET()

        def _send(self, reply: Answer) -> None:
            if isinstance(reply.body, bytes):
                if "Content-Length" not in reply.headers:
                    self.send_header("Content-Length", str(len(reply.body)))
                else:
                    self.close_connection = True  # a length made up: nothing more comes
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(reply.body)
                return
            self.close_connection = True
            self.end_headers()
            self.wfile.flush()
            for piece in reply.body:
                self.wfile.write(piece)
                self.wfile.flush()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: object, client_address: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield WebServer(server.server_port, asked)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
