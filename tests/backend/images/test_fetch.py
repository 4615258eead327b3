import base64
import gzip
import itertools
import json
import logging
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sam_backend.errors import (
    ImageError,
    ImageForbiddenError,
    ImageNotFoundError,
    ImageTimeoutError,
    ImageTooLargeError,
    ImageUnavailableError,
)
from sam_backend.images.fetch import FetchLimits, ImageFetcher
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_testing.web_server import Answer, Asked, WebServer, serving

PICTURE = b"\x89PNG and so on"
TOKEN = "0123456789abcdef0123456789abcdef01234567"
PERSONAL = "eyJhbGciOiJI.eyJ0b2tlbl90eXBlIjoicmVmcmVzaCJ9.c2VjcmV0"
Routes = dict[str, Answer | Callable[[Asked], Answer]]


def routes(table: Routes) -> Callable[[Asked], Answer]:
    def answer(asked: Asked) -> Answer:
        reply = table.get(asked.path, Answer(b"no such page", 404))
        return reply if isinstance(reply, Answer) else reply(asked)

    return answer


def redirect(location: str, status: int = 302) -> Answer:
    return Answer(b"this way", status, {"Location": location})


def fetcher(server: WebServer | None, token: str | None = TOKEN, prefix: str = "", **limits: Any) -> ImageFetcher:
    """A fetcher whose Label Studio is `server`."""
    access = LabelStudioCredentials(f"{server.url}{prefix}" if server else None, token if server else None)
    return ImageFetcher(access, FetchLimits(**({"timeout_s": 10.0} | limits)))


# --- where pictures are ---


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/data/upload/7/a.png", "/data/upload/7/a.png"),
        (" /data/upload/7/a b ü.png\n", "/data/upload/7/a%20b%20%C3%BC.png"),
        ("/data/local-files/?d=sub/b%20c%2Bd%2520%C3%A9.jpg", "/data/local-files/?d=sub/b%20c%2Bd%2520%C3%A9.jpg"),
        ("s3://bkt/imgs/b ü.jpg", "/tasks/212/resolve/?fileuri=czM6Ly9ia3QvaW1ncy9iIMO8LmpwZw=="),
        ("gs://bkt/a.jpg", "/tasks/212/resolve/?fileuri=Z3M6Ly9ia3QvYS5qcGc="),
        ("azure-blob://c/a.jpg", "/tasks/212/resolve/?fileuri=YXp1cmUtYmxvYjovL2MvYS5qcGc="),
        ("/tasks/9/resolve/?fileuri=czM6Ly9iL2E=", "/tasks/9/resolve/?fileuri=czM6Ly9iL2E="),
        ("/storage-data/uploaded/?filepath=upload/a.png", "/storage-data/uploaded/?filepath=upload/a.png"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "/ls", "/a/b/"])
def test_a_value_is_asked_of_label_studio_with_its_token(uri: str, path: str, prefix: str) -> None:
    with serving(lambda asked: Answer(PICTURE)) as server:
        data = fetcher(server, prefix=prefix).fetch(uri, task_id=212, project_id=7)

    assert data == PICTURE
    assert server.paths == [prefix.rstrip("/") + path]
    assert server.authorizations == [f"Token {TOKEN}"]


def test_a_value_that_holds_the_path_prefix_does_not_get_it_twice() -> None:
    with serving(lambda asked: Answer(PICTURE)) as server:
        images = fetcher(server, prefix="/ls")
        images.fetch("/ls/data/upload/7/a.png")
        images.fetch(f"{server.url}/ls/data/upload/7/a.png")

    assert server.paths == ["/ls/data/upload/7/a.png"] * 2
    assert server.authorizations == [f"Token {TOKEN}"] * 2


def test_a_prefix_that_a_proxy_takes_away_is_taken_away_here_too() -> None:
    """LABEL_STUDIO_HOST=https://example.org/a/ls, and LABEL_STUDIO_URL is where Label Studio itself listens."""
    with serving(lambda asked: Answer(PICTURE)) as server:
        fetcher(server).fetch("/a/ls/data/upload/7/a.png")
        fetcher(server).fetch("/ls/data/local-files/?d=/data/b.png")

    assert server.paths == ["/data/upload/7/a.png", "/data/local-files/?d=/data/b.png"]


def test_a_cloud_uri_without_a_task_is_resolved_for_its_project() -> None:
    with serving(lambda asked: Answer(PICTURE)) as server:
        fetcher(server).fetch("s3://bkt/a.jpg", project_id=7)

    assert server.paths == ["/projects/7/resolve/?fileuri=czM6Ly9ia3QvYS5qcGc="]


def test_a_cloud_uri_without_task_and_project_cannot_be_resolved() -> None:
    with serving(lambda asked: Answer(PICTURE)) as server, pytest.raises(ImageError, match="task or project id"):
        fetcher(server).fetch("s3://bkt/a.jpg")


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "a.png",
        "data",
        "/etc/passwd",
        "/api/users",
        "/database/a.png",
        "/ls/database/a.png",
        "/api/users?next=/data/upload/a.png",
        "/ls/../data/upload/a.png",
        "/data/../api/users",
        "/data/upload/%2e%2e/%2E%2E/api/users",
        "/tasks/x/resolve/?fileuri=a",
        "//evil.org/data/upload/a.png",
        "file:///etc/passwd",
        "ftp://host/a.png",
        "gopher://host/",
        "s3a://bkt/a",
        "blob:http://ls/abc",
        "javascript:alert(1)",
        "\\\\host\\share\\a.png",
    ],
)
def test_every_other_value_is_refused_by_name(uri: str) -> None:
    with (
        serving(lambda asked: Answer(PICTURE)) as server,
        pytest.raises(ImageForbiddenError, match=r"could not fetch .*: expected /data/") as refused,
    ):
        fetcher(server).fetch(uri, task_id=1)

    assert repr(uri) in str(refused.value)
    assert server.asked == []


def test_without_an_address_of_label_studio_its_uploads_cannot_be_fetched() -> None:
    with pytest.raises(ImageError, match="set LABEL_STUDIO_URL"):
        fetcher(None).fetch("/data/upload/7/a.png")


@pytest.mark.parametrize(
    ("uri", "data"),
    [
        ("data:image/png;base64,iVBORw0KGgo=", b"\x89PNG\r\n\x1a\n"),
        ("data:image/png;base64,iVBORw0KGgo", b"\x89PNG\r\n\x1a\n"),
        ("DATA:;BASE64,iVBO\nRw0K Ggo%3D", b"\x89PNG\r\n\x1a\n"),
        ("data:,%89PNG%2c+", b"\x89PNG,+"),
        ("data:text/plain;charset=utf-8,a,b", b"a,b"),
    ],
)
def test_data_uris_are_decoded(uri: str, data: bytes) -> None:
    assert fetcher(None).fetch(uri) == data


@pytest.mark.parametrize("uri", ["data:image/png;base64", "data:image/png;base64,a", "data:;base64,iVB*Rw0K"])
def test_broken_data_uris_are_refused_in_short(uri: str) -> None:
    with pytest.raises(ImageError) as refused:
        fetcher(None).fetch(uri)

    assert len(str(refused.value)) < 150


def test_a_data_uri_is_held_to_the_limit() -> None:
    uri = "data:image/png;base64," + base64.b64encode(bytes(101)).decode()

    with pytest.raises(ImageTooLargeError, match="101 bytes, more than 100"):
        fetcher(None, max_bytes=100).fetch(uri)


# --- the token, and where it goes ---


def test_an_absolute_url_on_label_studio_gets_the_token_only_where_pictures_are() -> None:
    with serving(lambda asked: Answer(PICTURE)) as server:
        images = fetcher(server)
        for path in ("/data/upload/7/a.png", "/other/a.png", "/data/../api/x", "/database/a.png"):
            images.fetch(server.url + path)

    assert server.authorizations == [f"Token {TOKEN}", None, None, None]


def test_another_port_gets_no_token() -> None:
    with serving(lambda asked: Answer(PICTURE)) as label_studio, serving(lambda asked: Answer(PICTURE)) as other:
        fetcher(label_studio, allow_private_addresses=True).fetch(f"{other.url}/data/upload/7/a.png")

    assert other.authorizations == [None]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_a_signed_url_takes_no_token_along(status: int) -> None:
    with serving(lambda asked: Answer(PICTURE)) as cloud:
        there = redirect(f"{cloud.url}/bkt/a.jpg?X-Amz-Signature=abc", status)
        with serving(lambda asked: there) as label_studio:
            data = fetcher(label_studio, allow_private_addresses=True).fetch("s3://bkt/a.jpg", task_id=1)

    assert data == PICTURE
    assert label_studio.authorizations == [f"Token {TOKEN}"]
    assert [asked.method for asked in cloud.asked] == ["GET"]
    assert (cloud.paths, cloud.authorizations) == (["/bkt/a.jpg?X-Amz-Signature=abc"], [None])


def test_a_redirect_that_comes_back_has_lost_its_token() -> None:
    table: Routes = {"/data/upload/7/b.png": Answer(PICTURE)}
    with (
        serving(routes(table)) as label_studio,
        serving(lambda asked: redirect(f"{label_studio.url}/data/upload/7/b.png")) as other,
    ):
        table["/data/upload/7/a.png"] = redirect(f"{other.url}/")
        fetcher(label_studio, allow_private_addresses=True).fetch("/data/upload/7/a.png")

    assert label_studio.authorizations == [f"Token {TOKEN}", None]


def test_a_redirect_within_label_studio_keeps_the_token_only_where_pictures_are() -> None:
    table: Routes = {
        "/data/upload/7/a.png": redirect("/storage-data/uploaded/?filepath=a"),
        "/storage-data/uploaded/?filepath=a": redirect("../../public/a.png"),
        "/public/a.png": Answer(PICTURE),
    }
    with serving(routes(table)) as server:
        fetcher(server).fetch("/data/upload/7/a.png")

    assert server.authorizations == [f"Token {TOKEN}", f"Token {TOKEN}", None]


def test_the_projects_login_goes_to_other_hosts_and_leaves_with_a_redirect() -> None:
    with (
        serving(lambda asked: Answer(PICTURE)) as second,
        serving(lambda asked: redirect(f"{second.url}/a.png")) as first,
        serving(lambda asked: Answer(PICTURE)) as label_studio,
    ):
        images = fetcher(label_studio, allow_private_addresses=True)
        images.fetch(f"{first.url}/a.png", login="ann", password="päss")
        images.fetch("/data/upload/7/a.png", login="ann", password="päss")

    basic = "Basic " + base64.b64encode("ann:päss".encode()).decode()
    assert first.authorizations == [basic]
    assert second.authorizations == [None]
    assert label_studio.authorizations == [f"Token {TOKEN}"]


def test_the_login_inside_a_url_is_sent_as_a_header_and_stays_out_of_messages() -> None:
    with serving(lambda asked: Answer(b"", 403)) as server:
        url = f"http://ann:s%40cret@127.0.0.1:{server.port}/a.png?signature=hidden"
        with pytest.raises(ImageForbiddenError) as refused:
            fetcher(None, allow_private_addresses=True).fetch(url, login="other", password="other")

    assert server.authorizations == ["Basic " + base64.b64encode(b"ann:s@cret").decode()]
    assert "cret" not in str(refused.value)
    assert "hidden" not in str(refused.value)


def test_a_personal_token_is_exchanged_and_renewed_once_when_refused() -> None:
    numbers = itertools.count(1)

    def answer(asked: Asked) -> Answer:
        if asked.path == "/api/token/refresh/":
            return Answer(json.dumps({"access": f"bearer-{next(numbers)}"}).encode())
        return Answer(PICTURE) if asked.headers["authorization"] == "Bearer bearer-2" else Answer(b"", 401)

    with serving(answer) as server:
        data = fetcher(server, PERSONAL).fetch("/data/upload/7/a.png")

    assert data == PICTURE
    assert server.authorizations == [None, "Bearer bearer-1", None, "Bearer bearer-2"]


def test_a_token_that_stays_refused_is_tried_twice_and_no_more() -> None:
    numbers = itertools.count(1)

    def answer(asked: Asked) -> Answer:
        bearer = json.dumps({"access": f"bearer-{next(numbers)}"}).encode()
        return Answer(bearer) if asked.method == "POST" else Answer(b"", 401)

    with serving(answer) as server, pytest.raises(ImageForbiddenError):
        fetcher(server, PERSONAL).fetch("/data/upload/7/a.png")

    assert server.paths.count("/data/upload/7/a.png") == 2


def test_the_setup_token_that_is_refused_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with serving(lambda asked: Answer(b'{"detail": "legacy"}', 401)) as server:
        access = LabelStudioCredentials(None, None)
        access.learn_from_setup(server.url, TOKEN)
        images = ImageFetcher(access, FetchLimits())
        messages = []
        for name in "abc":
            with pytest.raises(ImageForbiddenError) as refused:
                images.fetch(f"/data/upload/7/{name}.png")
            messages.append(str(refused.value))

    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    for text in (*messages, caplog.text):
        assert "create a personal access token in Label Studio under Account & Settings" in text
        assert "LABEL_STUDIO_API_KEY" in text
        assert TOKEN not in text
    assert "/data/upload/7/c.png" in messages[2]


# --- addresses ---


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "127.1",
        "0.0.0.0",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[fe80::1]",
        "[fd00::1]",
        "[ff02::1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
    ],
)
def test_private_addresses_are_refused_however_they_are_spelt(host: str) -> None:
    with (
        serving(lambda asked: Answer(PICTURE)) as server,
        pytest.raises(ImageForbiddenError, match=r"SAM_ALLOW_PRIVATE_ADDRESSES|link-local"),
    ):
        fetcher(None).fetch(f"http://{host}:{server.port}/a.png")

    assert server.asked == []


def test_a_redirect_to_a_private_address_is_refused() -> None:
    with (
        serving(lambda asked: Answer(PICTURE)) as inside,
        serving(lambda asked: redirect(f"{inside.url}/secret")) as label_studio,
        pytest.raises(ImageForbiddenError, match="a private address"),
    ):
        fetcher(label_studio).fetch("/data/upload/7/a.png")

    assert inside.asked == []


def test_not_even_label_studio_may_be_a_metadata_service() -> None:
    access = LabelStudioCredentials(None, None)
    access.learn_from_setup("http://169.254.169.254", TOKEN)

    with pytest.raises(ImageForbiddenError, match="a link-local address"):
        ImageFetcher(access, FetchLimits()).fetch("/data/upload/7/a.png")


def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    looked_up: list[tuple[str, int]] = []

    def resolver(host: str, port: int) -> list[str]:
        looked_up.append((host, port))
        return ["127.0.0.1"] if len(looked_up) == 1 else ["192.0.2.1"]  # a second answer would lead elsewhere

    with serving(lambda asked: Answer(PICTURE)) as server:
        limits = FetchLimits(allow_private_addresses=True, timeout_s=5)
        images = ImageFetcher(LabelStudioCredentials(None, None), limits, resolver=resolver)
        images.fetch(f"http://pictures.example:{server.port}/a.png")

    assert looked_up == [("pictures.example", server.port)]
    assert server.asked[0].headers["host"] == f"pictures.example:{server.port}"


def test_of_several_addresses_the_private_ones_are_left_out() -> None:
    with serving(lambda asked: Answer(PICTURE)) as server:
        access = LabelStudioCredentials(f"http://ls.example:{server.port}", TOKEN)
        images = ImageFetcher(access, FetchLimits(), resolver=lambda host, port: ["169.254.1.1", "127.0.0.1"])
        data = images.fetch("/data/upload/7/a.png")

    assert data == PICTURE


def test_the_next_address_is_tried_when_one_refuses() -> None:
    with serving(lambda asked: Answer(PICTURE)) as server:
        access = LabelStudioCredentials(f"http://ls.example:{server.port}", TOKEN)
        images = ImageFetcher(access, FetchLimits(), resolver=lambda host, port: ["127.0.0.9", "127.0.0.1"])
        data = images.fetch("/data/upload/7/a.png")  # nothing listens on 127.0.0.9

    assert data == PICTURE


def test_a_name_without_an_address_is_named() -> None:
    def resolver(host: str, port: int) -> list[str]:
        raise OSError("no such host")

    images = ImageFetcher(LabelStudioCredentials(None, None), FetchLimits(), resolver=resolver)
    with pytest.raises(ImageError, match=r"'nowhere\.example' has no IP address"):
        images.fetch("http://nowhere.example/a.png")


@pytest.mark.parametrize("url", ["http://", "http://:80/a", "http://h:99999/a", "https://[::1/a", "http://" + "a" * 64])
def test_a_url_without_a_usable_host_is_refused(url: str) -> None:
    with pytest.raises(ImageError):
        fetcher(None).fetch(url)


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda asked: Answer(b"proxied")) as proxy, serving(lambda asked: Answer(PICTURE)) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)

        assert fetcher(server).fetch("/data/upload/7/a.png") == PICTURE

    assert proxy.asked == []


# --- TLS ---


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of pictures.example that signs itself, with its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is missing, which makes the certificate")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    key = path.with_name("key.pem")
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=DNS:pictures.example"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(path)], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + key.read_bytes())
    return path


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[WebServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving(lambda asked: Answer(PICTURE), context) as server:
        yield server


def over_tls(server: WebServer, host: str, access: LabelStudioCredentials | None = None) -> bytes:
    limits = FetchLimits(allow_private_addresses=True, timeout_s=10)
    images = ImageFetcher(
        access or LabelStudioCredentials(None, None), limits, resolver=lambda host, port: ["127.0.0.1"]
    )
    return images.fetch(f"https://{host}:{server.port}/data/upload/7/a.png")


def test_a_certificate_is_checked_against_the_name_and_not_the_address(
    tls_server: WebServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    assert over_tls(tls_server, "pictures.example") == PICTURE
    with pytest.raises(ImageError, match="no trusted TLS connection"):
        over_tls(tls_server, "other.example")
    assert len(tls_server.asked) == 1


def test_a_certificate_that_nobody_trusts_gets_no_token(tls_server: WebServer) -> None:
    access = LabelStudioCredentials(f"https://pictures.example:{tls_server.port}", TOKEN)

    with pytest.raises(ImageError, match="no trusted TLS connection"):
        over_tls(tls_server, "pictures.example", access)
    assert tls_server.asked == []


# --- how much and how long ---


def test_the_announced_length_is_checked_before_a_byte_is_read() -> None:
    stop = threading.Event()
    silent = Answer(_forever(stop, pause_s=10), headers={"Content-Length": "101"})
    with serving(lambda asked: silent) as server:
        with pytest.raises(ImageTooLargeError, match="more than 100 bytes"):
            fetcher(server, max_bytes=100, timeout_s=2).fetch("/data/upload/7/a.png")
        stop.set()


def _forever(stop: threading.Event, pause_s: float = 0.0, piece: bytes = b"x" * 1000) -> Iterator[bytes]:
    while not stop.wait(pause_s):
        yield piece


def test_an_endless_body_is_given_up_at_the_limit() -> None:
    stop = threading.Event()
    with serving(lambda asked: Answer(_forever(stop))) as server:
        with pytest.raises(ImageTooLargeError):
            fetcher(server, max_bytes=100_000).fetch("/data/upload/7/a.png")
        stop.set()


def test_a_gzip_bomb_is_given_up_at_the_limit() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    assert len(bomb) < 100_000

    with (
        serving(lambda asked: Answer(bomb, headers={"Content-Encoding": "gzip"})) as server,
        pytest.raises(ImageTooLargeError),
    ):
        fetcher(server, max_bytes=100_000).fetch("/data/upload/7/a.png")


def test_a_gzip_encoding_that_nobody_asked_for_is_undone() -> None:
    with serving(lambda asked: Answer(gzip.compress(PICTURE), headers={"Content-Encoding": "gzip"})) as server:
        assert fetcher(server).fetch("/data/upload/7/a.png") == PICTURE

    assert server.asked[0].headers["accept-encoding"] == "identity"


def test_exactly_as_many_bytes_as_allowed_are_taken() -> None:
    with serving(lambda asked: Answer(bytes(100_000))) as server:
        assert len(fetcher(server, max_bytes=100_000).fetch("/data/upload/7/a.png")) == 100_000


@pytest.mark.parametrize("headers", [{}, {"Content-Length": "1000000"}], ids=["no length", "length"])
def test_a_server_that_drips_is_a_timeout(headers: dict[str, str]) -> None:
    stop = threading.Event()
    with serving(lambda asked: Answer(_forever(stop, 0.02, b"x"), headers=headers)) as server:
        with pytest.raises(ImageTimeoutError, match=r"0\.3 s"):
            fetcher(server, timeout_s=0.3).fetch("/data/upload/7/a.png")
        stop.set()


def test_redirects_that_drag_on_share_one_time_limit() -> None:
    stop = threading.Event()

    def slowly(asked: Asked) -> Answer:
        stop.wait(0.2)
        return redirect("/data/upload/7/again.png")

    with serving(slowly) as server:
        with pytest.raises(ImageTimeoutError):
            fetcher(server, timeout_s=0.5).fetch("/data/upload/7/a.png")
        stop.set()

    assert len(server.asked) <= 3


def test_headers_that_drip_are_a_timeout() -> None:
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                try:
                    while not stop.wait(0.02):
                        connection.sendall(b"X: y\r\n"[:1])
                except OSError:
                    pass

        thread = threading.Thread(target=drip)
        thread.start()
        access = LabelStudioCredentials(f"http://127.0.0.1:{listener.getsockname()[1]}", TOKEN)
        with pytest.raises(ImageTimeoutError):
            ImageFetcher(access, FetchLimits(timeout_s=0.3)).fetch("/data/upload/7/a.png")
        stop.set()
        thread.join()


def test_a_name_server_that_is_silent_is_a_timeout() -> None:
    stop = threading.Event()

    def resolver(host: str, port: int) -> list[str]:
        stop.wait(10)
        return []

    images = ImageFetcher(LabelStudioCredentials(None, None), FetchLimits(timeout_s=0.1), resolver=resolver)
    with pytest.raises(ImageTimeoutError, match=r"slow\.example"):
        images.fetch("http://slow.example/a.png")
    stop.set()


def test_a_body_that_ends_early_is_an_error() -> None:
    with (
        serving(lambda asked: Answer(PICTURE, headers={"Content-Length": "1000"})) as server,
        pytest.raises(ImageError, match="before the image was complete"),
    ):
        fetcher(server).fetch("/data/upload/7/a.png")


def test_a_body_in_chunks_that_ends_early_is_an_error() -> None:
    pieces = [b"3\r\nabc\r\n", b"5\r\nde"]
    with (
        serving(lambda asked: Answer(pieces, headers={"Transfer-Encoding": "chunked"})) as server,
        pytest.raises(ImageError, match="could not fetch"),
    ):
        fetcher(server).fetch("/data/upload/7/a.png")


def test_a_body_in_chunks_is_put_together() -> None:
    pieces = [b"3\r\nabc\r\n", b"2\r\nde\r\n", b"0\r\n\r\n"]
    with serving(lambda asked: Answer(pieces, headers={"Transfer-Encoding": "chunked"})) as server:
        assert fetcher(server).fetch("/data/upload/7/a.png") == b"abcde"


# --- answers that are no pictures ---


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (404, ImageNotFoundError, "not found"),
        (401, ImageForbiddenError, "LABEL_STUDIO_API_KEY"),
        (403, ImageForbiddenError, "LABEL_STUDIO_API_KEY"),
        (400, ImageError, "answered 400"),
        (410, ImageError, "answered 410"),
        (429, ImageUnavailableError, "answered 429"),
        (500, ImageUnavailableError, "answered 500"),
        (304, ImageError, "answered 304"),
    ],
)
def test_an_answer_that_is_not_200_is_named(status: int, kind: type[ImageError], message: str) -> None:
    with serving(lambda asked: Answer(b"", status)) as server, pytest.raises(ImageError, match=message) as refused:
        fetcher(server).fetch("/data/upload/7/a.png")

    assert type(refused.value) is kind
    assert "/data/upload/7/a.png" in str(refused.value)


def test_the_login_page_is_a_refusal() -> None:
    table: Routes = {
        "/data/upload/7/a.png": redirect("/user/login/?next=/data/upload/7/a.png"),
        "/user/login/?next=/data/upload/7/a.png": Answer(b"<html>", headers={"Content-Type": "text/html"}),
    }
    with serving(routes(table)) as server, pytest.raises(ImageForbiddenError, match="LABEL_STUDIO_API_KEY"):
        fetcher(server).fetch("/data/upload/7/a.png")

    assert server.paths == ["/data/upload/7/a.png"]


@pytest.mark.parametrize("kind", ["text/html", "text/html; charset=utf-8", "Application/XHTML+xml"])
def test_a_web_page_is_no_picture(kind: str) -> None:
    page = Answer(b"<html>", headers={"Content-Type": kind})
    with serving(lambda asked: page) as server:
        with pytest.raises(ImageForbiddenError, match="LABEL_STUDIO_API_KEY"):
            fetcher(server).fetch("/data/upload/7/a.png")
        with pytest.raises(ImageForbiddenError, match="a web page"):
            fetcher(None, allow_private_addresses=True).fetch(f"{server.url}/a.png")


def test_a_label_studio_that_has_moved_is_named() -> None:
    with (
        serving(lambda asked: Answer(b"", 401)) as new,
        serving(lambda asked: redirect(f"{new.url}{asked.path}", 301)) as old,
        pytest.raises(ImageForbiddenError, match=rf"set it to {new.url} if that is Label Studio"),
    ):
        fetcher(old, allow_private_addresses=True).fetch("/data/upload/7/a.png")

    assert new.authorizations == [None]


def test_redirects_in_a_circle_end() -> None:
    with (
        serving(lambda asked: redirect(asked.path)) as server,
        pytest.raises(ImageError, match="more than 5 redirects"),
    ):
        fetcher(server).fetch("/data/upload/7/a.png")

    assert len(server.asked) == 6


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://h/a", "http://:80/a", "data:,x", "s3://bkt/a"])
def test_a_redirect_to_another_scheme_is_refused(location: str) -> None:
    with serving(lambda asked: redirect(location)) as server, pytest.raises(ImageForbiddenError, match="not an http"):
        fetcher(server).fetch("/data/upload/7/a.png")


def test_a_host_that_refuses_connections_is_named() -> None:
    with serving(lambda asked: Answer()) as server:
        pass

    with pytest.raises(ImageError, match=r"from 127\.0\.0\.1: the connection was refused"):
        fetcher(server).fetch("/data/upload/7/a.png")


# --- connections ---


def test_connections_are_kept_between_pictures_and_after_refusals() -> None:
    table: Routes = {
        "/data/upload/7/a.png": Answer(PICTURE),
        "/data/upload/7/b.png": redirect("/data/upload/7/a.png"),
    }
    with serving(routes(table)) as server:
        images = fetcher(server)
        for name in "abac":
            try:
                images.fetch(f"/data/upload/7/{name}.png")
            except ImageNotFoundError:
                assert name == "c"
        images.close()

    assert {asked.connection for asked in server.asked} == {0}


def test_a_kept_connection_that_the_server_closed_is_replaced() -> None:
    with serving(lambda asked: Answer(PICTURE, headers={"Content-Length": str(len(PICTURE))})) as server:
        images = fetcher(server)
        for _ in range(3):
            assert images.fetch("/data/upload/7/a.png") == PICTURE

    assert len({asked.connection for asked in server.asked}) == 3


def test_a_picture_that_was_given_up_leaves_nothing_for_the_next() -> None:
    table: Routes = {"/data/upload/7/a.png": Answer(b"x" * 5000), "/data/upload/7/b.png": Answer(PICTURE)}
    with serving(routes(table)) as server:
        images = fetcher(server, max_bytes=1000)
        with pytest.raises(ImageTooLargeError):
            images.fetch("/data/upload/7/a.png")

        assert images.fetch("/data/upload/7/b.png") == PICTURE


def test_many_threads_get_their_own_pictures() -> None:
    wrong: list[str] = []
    with serving(lambda asked: Answer(asked.path.encode() * 500)) as server:
        images = fetcher(server)

        def work(number: int) -> None:
            for step in range(20):
                path = f"/data/upload/{number}/{step}.png"
                if images.fetch(path) != path.encode() * 500:
                    wrong.append(path)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert wrong == []
    assert len({asked.connection for asked in server.asked}) <= 16
