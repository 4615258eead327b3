"""The adapter without sockets: what it reads, refuses and hands to Flask."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from sam_backend.settings import MIB, Settings
from sam_backend.web import asgi_adapter
from sam_backend.web.asgi_adapter import AsgiAdapter, wsgi_environ
from sam_backend.web.body_limits import SMALL_BODY_BYTES
from sam_backend.web.request_body import RequestBody

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class Client:
    """Sends a body in pieces, keeps the answer."""

    def __init__(self, *pieces: bytes, then: str = "complete") -> None:
        self._pieces = list(pieces)
        self._then = then
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.is_read = False

    async def receive(self) -> dict[str, Any]:
        if len(self._pieces) > 1 or (self._pieces and self._then != "complete"):
            return {"type": "http.request", "body": self._pieces.pop(0), "more_body": True}
        if self._then == "silence":
            await asyncio.Event().wait()
        if self._then == "gone":
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": self._pieces.pop() if self._pieces else b"", "more_body": False}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.body += message["body"]

    def read_into(self, body: RequestBody | None) -> None:
        pass  # `receive` returns all of it

    def request_is_read(self) -> None:
        self.is_read = True

    def abort(self) -> None:
        raise AssertionError("nothing was to be aborted")

    @property
    def error(self) -> str:
        return str(json.loads(self.body)["error"])


def scope(path: str = "/predict", method: str = "POST", **headers: str) -> dict[str, Any]:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        "server": ("127.0.0.1", 9090),
        "client": ("127.0.0.1", 50000),
    }


def echo(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def ask(adapter: AsgiAdapter, client: Client, **where: str) -> Client:
    asyncio.run(adapter(scope(**where), client.receive, client.send, client))
    return client


def test_the_pieces_of_a_body_arrive_as_one() -> None:
    client = ask(AsgiAdapter(echo, Settings()), Client(b"abc", b"", b"def"))

    assert (client.status, client.body) == (200, b"abcdef")
    assert client.is_read


@pytest.mark.parametrize(
    ("path", "limit", "named"), [("/predict", MIB, "SAM_MAX_BODY_MIB"), ("/setup", SMALL_BODY_BYTES, "256 KiB")]
)
def test_a_body_above_the_limit_is_refused_while_it_is_read(path: str, limit: int, named: str) -> None:
    adapter = AsgiAdapter(echo, Settings(max_body_mib=1))

    assert ask(adapter, Client(b"x" * limit), path=path).status == 200
    client = ask(adapter, Client(b"x" * limit, b"x"), path=path)

    assert client.status == 413
    assert named in client.error


def test_a_body_that_is_announced_as_too_large_is_not_read() -> None:
    client = ask(AsgiAdapter(echo, Settings(max_body_mib=1)), Client(b"x", then="gone"), content_length=str(1 << 70))

    assert client.status == 413
    assert client.headers["connection"] == "close"
    assert not client.is_read


def test_a_body_that_does_not_come_is_answered_with_408() -> None:
    client = ask(AsgiAdapter(echo, Settings(read_timeout_s=0.1)), Client(b"{", then="silence"))

    assert client.status == 408
    assert "0.1 s" in client.error
    assert client.headers["connection"] == "close"


def test_a_refusal_carries_the_id_of_the_request() -> None:
    adapter = AsgiAdapter(echo, Settings(max_body_mib=1))

    given = ask(adapter, Client(b"x" * MIB, b"x"), x_request_id="abc-1")
    made = ask(adapter, Client(b"x" * MIB, b"x"))

    assert given.headers["x-request-id"] == json.loads(given.body)["request_id"] == "abc-1"
    assert made.headers["x-request-id"] == json.loads(made.body)["request_id"] != ""


def test_a_client_that_leaves_in_the_middle_gets_nothing() -> None:
    assert ask(AsgiAdapter(echo, Settings()), Client(b"{", then="gone")).status == 0


def test_large_bodies_share_one_memory_budget_and_small_ones_need_none() -> None:
    adapter = AsgiAdapter(echo, Settings(max_body_mib=2))
    large = b"x" * (2 * MIB)

    async def main() -> tuple[list[Client], Client, Client]:
        waiting = [Client(large, then="silence") for _ in range(8)]
        tasks = [asyncio.ensure_future(adapter(scope(), each.receive, each.send, each)) for each in waiting]
        await asyncio.sleep(0)
        one_more, small = Client(large), Client(b"small")
        await adapter(scope(), one_more.receive, one_more.send, one_more)
        await adapter(scope(), small.receive, small.send, small)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        after = Client(large)
        await adapter(scope(), after.receive, after.send, after)
        return [one_more, small], after, waiting[0]

    (one_more, small), after, first = asyncio.run(main())

    assert (one_more.status, one_more.headers["retry-after"]) == (503, "5")
    assert small.status == 200
    assert first.status == 0
    assert after.status == 200, "a body that is over no longer counts"


def test_a_full_pool_refuses_at_once_and_the_control_routes_still_answer() -> None:
    may_end = threading.Event()
    started = threading.Semaphore(0)

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/predict":
            started.release()
            may_end.wait(30)
        return echo(environ, start_response)

    adapter = AsgiAdapter(app, Settings(threads=1, max_waiting=1))

    async def main() -> tuple[Client, Client, Client]:
        admitted = [Client(b"click"), Client(b"click")]
        tasks = [asyncio.ensure_future(adapter(scope(), each.receive, each.send, each)) for each in admitted]
        await asyncio.to_thread(started.acquire)
        refused, health = Client(b"click"), Client()
        await adapter(scope(), refused.receive, refused.send, refused)
        await adapter(scope("/health", "GET"), health.receive, health.send, health)
        assert not any(task.done() for task in tasks)
        may_end.set()
        await asyncio.gather(*tasks)
        return refused, health, admitted[1]

    refused, health, admitted = asyncio.run(main())

    assert (refused.status, refused.headers["retry-after"]) == (503, "5")
    assert health.status == admitted.status == 200


def test_a_queued_request_whose_client_left_is_not_computed() -> None:
    may_end = threading.Event()
    computed = []

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        may_end.wait(30)
        computed.append(environ["wsgi.input"].read())
        return echo(environ, start_response)

    adapter = AsgiAdapter(app, Settings(threads=1, max_waiting=2))

    async def main() -> None:
        clients = [Client(b"first"), Client(b"second"), Client(b"third")]
        tasks = [asyncio.ensure_future(adapter(scope(), each.receive, each.send, each)) for each in clients]
        while not clients[2].is_read:
            await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.gather(tasks[1], return_exceptions=True)
        may_end.set()
        await asyncio.gather(tasks[0], tasks[2])

    asyncio.run(main())

    assert sorted(computed) == [b"first", b"third"]


def test_at_a_stop_requests_that_are_still_computed_get_503() -> None:
    may_end = threading.Event()

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        may_end.wait(30)
        return echo(environ, start_response)

    adapter = AsgiAdapter(app, Settings())

    async def main() -> list[Client]:
        clients = [Client(b"computed"), Client(b"half a bo", then="silence")]
        tasks = [asyncio.ensure_future(adapter(scope(), each.receive, each.send, each)) for each in clients]
        while not clients[0].is_read:
            await asyncio.sleep(0)
        adapter.refuse_all()
        await asyncio.gather(*tasks)
        may_end.set()
        return clients

    for client in asyncio.run(main()):
        assert client.status == 503
        assert "stopping" in client.error


def test_a_client_that_does_not_read_its_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi_adapter, "SEND_S", 0.05)
    aborted = []

    class Deaf(Client):
        async def send(self, message: Any) -> None:
            await asyncio.Event().wait()

        def abort(self) -> None:
            aborted.append(self)

    client = ask(AsgiAdapter(echo, Settings()), Deaf(b"x"))

    assert aborted == [client]


def test_an_exception_of_the_application_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        raise RuntimeError("secret")

    client = ask(AsgiAdapter(app, Settings()), Client())

    assert client.status == 500
    assert "secret" not in client.error
    assert "RuntimeError: secret" in caplog.text


def test_the_environment_is_that_of_pep_3333() -> None:
    asked = scope("/data/%C3%A9", "GET", content_type="text/plain", host="backend:9090", x_request_id="7")
    asked["headers"].append((b"x-request-id", b"8"))
    asked["headers"].append((b"transfer-encoding", b"chunked"))
    asked["query_string"] = b"a=%20b"

    environ = wsgi_environ(asked, bytearray(b"body"))

    assert environ["PATH_INFO"] == "/data/Ã©"  # UTF-8 read as Latin-1, as PEP 3333 wants
    assert environ["QUERY_STRING"] == "a=%20b"
    assert environ["CONTENT_TYPE"] == "text/plain"
    assert environ["CONTENT_LENGTH"] == "4"
    assert environ["HTTP_HOST"] == "backend:9090"
    assert environ["HTTP_X_REQUEST_ID"] == "7,8"
    assert "HTTP_TRANSFER_ENCODING" not in environ
    assert environ["wsgi.input"].read() == b"body"


@pytest.mark.parametrize(("given", "is_taken"), [("click-7", True), ("click 7", False), ("", False)])
def test_a_refusal_carries_the_id_of_its_request(given: str, is_taken: bool) -> None:
    adapter = AsgiAdapter(echo, Settings(max_body_mib=1))
    client = Client(b"x" * MIB, b"x")

    asyncio.run(adapter(scope(x_request_id=given), client.receive, client.send, client))

    request_id = json.loads(client.body)["request_id"]
    assert client.headers["x-request-id"] == request_id
    assert (request_id == given) == is_taken
    assert len(request_id) >= 7
