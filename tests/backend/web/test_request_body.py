"""Large bodies reach the application unchanged, whatever pieces they come in, over real sockets."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger

from sam_backend.settings import MIB, Settings
from sam_backend.web.asgi_adapter import AsgiAdapter
from sam_backend.web.gunicorn_worker import HttpConnection, WebWorker
from sam_backend.web.request_body import STEP, BodyFile, BodyMemory, RequestBody

LARGE = random.Random(1).randbytes(3 * MIB + 5)


def digest(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    body = environ["wsgi.input"].read()
    answer = hashlib.sha256(body).hexdigest().encode()
    start_response("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]


class Worker(WebWorker):
    """A worker in this process, without gunicorn's master."""

    def __init__(self, adapter: AsgiAdapter) -> None:
        config = Config()
        config.set("http_parser", "python")
        config.set("asgi_disconnect_grace_period", 0)
        super().__init__(1, 0, [], adapter, 30, config, Logger(config))
        self.asgi, self.loop = adapter, asyncio.get_running_loop()


@asynccontextmanager
async def server(**settings: Any) -> AsyncIterator[tuple[AsgiAdapter, int]]:
    adapter = AsgiAdapter(digest, Settings(**settings))
    worker = Worker(adapter)
    listening = await worker.loop.create_server(lambda: HttpConnection(worker), "127.0.0.1", 0)
    try:
        yield adapter, listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        worker.tmp.close()


def head(length: int, *more: str, path: str = "/predict") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {length}", *more, "", ""]
    return "\r\n".join(lines).encode()


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    headers = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
    length = next(int(line.split(": ")[1]) for line in headers if line.startswith("content-length"))
    return int(headers[0].split()[1]), await reader.readexactly(length)


def sha(body: bytes) -> tuple[int, bytes]:
    return 200, hashlib.sha256(body).hexdigest().encode()


@pytest.mark.parametrize("piece", [4 * MIB, MIB, 70_001])
def test_bodies_of_one_connection_arrive_unchanged(piece: int) -> None:
    other = bytes(reversed(LARGE[: 2 * MIB]))

    async def main() -> list[tuple[int, bytes]]:
        async with server() as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            found = []
            for body in (LARGE, b"small", other, b"", LARGE):
                whole = head(len(body)) + body
                for start in range(0, len(whole), piece):
                    writer.write(whole[start : start + piece])
                    await writer.drain()
                    await asyncio.sleep(0)
                found.append(await answer_of(reader))
            writer.close()
            return found

    assert asyncio.run(main()) == [sha(body) for body in (LARGE, b"small", other, b"", LARGE)]


def test_most_of_a_large_body_does_not_pass_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []
    receive = HttpConnection.data_received
    monkeypatch.setattr(
        HttpConnection, "data_received", lambda self, data: parsed.append(len(data)) or receive(self, data)
    )

    async def main() -> tuple[int, bytes]:
        async with server() as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head(4 * len(LARGE)) + 4 * LARGE)
            found = await answer_of(reader)
            writer.close()
            return found

    assert asyncio.run(main()) == sha(4 * LARGE)
    assert 0 < sum(parsed) < len(LARGE)


def test_a_request_that_follows_a_large_body_at_once_is_answered_too() -> None:
    async def main() -> list[tuple[int, bytes]]:
        async with server() as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head(len(LARGE)) + LARGE + head(5) + b"small")
            found = [await answer_of(reader), await answer_of(reader)]
            writer.close()
            return found

    assert asyncio.run(main()) == [sha(LARGE), sha(b"small")]


def test_a_client_that_waits_for_100_continue_gets_it() -> None:
    async def main() -> tuple[bytes, tuple[int, bytes]]:
        async with server() as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head(len(LARGE), "Expect: 100-continue"))
            first = await reader.readuntil(b"\r\n\r\n")
            writer.write(LARGE)
            found = await answer_of(reader)
            writer.close()
            return first, found

    first, found = asyncio.run(main())

    assert first.startswith(b"HTTP/1.1 100 ")
    assert found == sha(LARGE)


def test_a_large_body_that_ends_early_is_answered_with_408_and_no_longer_counts() -> None:
    async def main() -> tuple[tuple[int, bytes], int, tuple[int, bytes]]:
        async with server(read_timeout_s=0.3) as (adapter, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head(len(LARGE)) + LARGE[:MIB])
            late = await answer_of(reader)
            writer.close()
            _, left = await asyncio.open_connection("127.0.0.1", port)
            left.write(head(len(LARGE)) + LARGE[: 2 * MIB])
            await left.drain()
            left.close()
            while adapter._buffered or adapter._deadlines:
                await asyncio.sleep(0.01)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head(len(LARGE)) + LARGE)
            found = await answer_of(reader)
            writer.close()
            return late, adapter._buffered, found

    late, buffered, found = asyncio.run(main())

    assert (late[0], buffered) == (408, 0)
    assert found == sha(LARGE)


def test_large_bodies_are_refused_when_their_memory_is_used_up() -> None:
    async def main() -> tuple[int, bytes]:
        async with server() as (adapter, port):
            adapter._body_budget = 2 * MIB
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head(len(LARGE)) + LARGE)
            found = await answer_of(reader)
            writer.close()
            return found

    status, text = asyncio.run(main())

    assert (status, b"memory for request bodies" in text) == (503, True)


def test_the_memory_of_a_large_body_is_used_again_unless_somebody_still_refers_to_it() -> None:
    memory = BodyMemory()

    def body_with(content: bytes) -> RequestBody:
        body = RequestBody(lambda size, count: None, memory)
        while body.size < len(content):
            space = body.space(len(content) - body.size)
            count = len(space)
            space[:] = content[body.size : body.size + count]
            space.release()
            body.fill(count)
        return body

    first = body_with(LARGE)
    place = id(first.data())
    first.close()
    second = body_with(LARGE[::-1][: 2 * MIB])
    kept = second.data()
    assert (id(kept), bytes(kept)) == (place, LARGE[::-1][: 2 * MIB])
    second.close()

    third = body_with(LARGE)

    assert id(third.data()) != place
    assert bytes(kept) == LARGE[::-1][: 2 * MIB]
    small = RequestBody(lambda size, count: None, memory)
    small.append(STEP)
    small.close()
    assert memory.take() == b""


def test_a_body_is_a_file() -> None:
    file = BodyFile(bytearray(b"abcdef"))

    assert (file.read(2), file.read(), file.read()) == (b"ab", b"cdef", b"")
    assert file.data == b"abcdef"
