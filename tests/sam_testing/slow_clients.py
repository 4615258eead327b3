"""Clients that hold connections open: idle, or sending a request byte by byte."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

HEADERS_BEGUN = b"POST /predict HTTP/1.1\r\nHost: backend\r\nX-Slow: "
BODY_BEGUN = (
    b"POST /predict HTTP/1.1\r\nHost: backend\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{"
)


@contextmanager
def slow_clients(port: int, count: int, begun: bytes = b"", every_s: float = 0.2) -> Iterator[list[socket.socket]]:
    """Open `count` connections that send `begun`, then one byte every `every_s` seconds.

    Without `begun` they send nothing.
    """
    clients = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(count)]
    is_over = threading.Event()

    def drip() -> None:
        while not is_over.wait(every_s):
            for client in clients:
                try:
                    client.send(b" ")
                except OSError:  # the server has closed it
                    continue

    for client in clients:
        client.sendall(begun)
    thread = threading.Thread(target=drip)
    if begun:
        thread.start()
    try:
        yield clients
    finally:
        is_over.set()
        if begun:
            thread.join()
        for client in clients:
            client.close()


@contextmanager
def silent_image_server() -> Iterator[str]:
    """Yield the URL of a server that accepts connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(256)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
