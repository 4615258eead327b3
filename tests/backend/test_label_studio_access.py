import json
import logging
import threading
from collections.abc import Callable

import pytest

from sam_backend.errors import ImageError, ImageForbiddenError, ImageTimeoutError
from sam_backend.label_studio import access as access_module
from sam_backend.label_studio.access import LabelStudioAccess, origin_of
from sam_testing.web_server import Answer, Asked, serving

PERSONAL = "eyJhbGciOiJI.eyJ0b2tlbl90eXBlIjoicmVmcmVzaCJ9.c2VjcmV0"
LEGACY = "0123456789abcdef0123456789abcdef01234567"


def exchange(asked: Asked) -> Answer:
    """What Label Studio 1.23.2 answers at /api/token/refresh/; the bearer tokens are numbered."""
    assert asked.headers["content-type"] == "application/json"
    if asked.path != "/api/token/refresh/" or json.loads(asked.body) != {"refresh": PERSONAL}:
        return Answer(b'{"detail": "Token is invalid", "code": "token_not_valid"}', 401)
    exchange.count += 1  # type: ignore[attr-defined]
    return Answer(json.dumps({"access": f"bearer-{exchange.count}"}).encode())  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _count_from_zero() -> None:
    exchange.count = 0  # type: ignore[attr-defined]


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://ls", ("http", "ls", 80)),
        ("https://LS.Example.com./x?y", ("https", "ls.example.com", 443)),
        ("http://ls:8080/ls/", ("http", "ls", 8080)),
        ("http://user:pw@ls", ("http", "ls", 80)),
        ("http://[::1]:8080", ("http", "::1", 8080)),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: tuple[str, str, int]) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize("url", ["", "ls", "ftp://ls", "http://", "http://ls:99999", "/data/x", "http://[::1"])
def test_what_is_no_http_address_has_no_origin(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        origin_of(url)


@pytest.mark.parametrize(
    ("url", "is_own"),
    [
        ("https://ls.example.com/data/x", True),
        ("https://LS.example.com:443/", True),
        ("http://ls.example.com/", False),
        ("https://ls.example.com:8443/", False),
        ("https://ls.example.com.evil.org/", False),
        ("https://ls.example.com@evil.org/", False),
        ("https://evil.org/https://ls.example.com/", False),
        ("nonsense", False),
    ],
)
def test_own_origin_means_scheme_host_and_port(url: str, is_own: bool) -> None:
    assert LabelStudioAccess("https://ls.example.com/prefix", None).is_own_origin(url) is is_own


def test_nothing_is_known_before_settings_or_setup_say_it() -> None:
    access = LabelStudioAccess(None, None)

    assert (access.url, access.authorization()) == (None, None)
    assert not access.is_own_origin("http://localhost:8080")


def test_setup_fills_what_the_settings_left_open() -> None:
    nothing, address, both = (
        LabelStudioAccess(None, None),
        LabelStudioAccess("http://mine:1/ls/", None),
        LabelStudioAccess("http://mine:1", LEGACY),
    )

    for access in (nothing, address, both):
        access.learn_from_setup("http://theirs:2/ls/", "abc")

    assert (nothing.url, nothing.authorization()) == ("http://theirs:2/ls", "Token abc")
    assert (address.url, address.authorization()) == ("http://mine:1/ls", "Token abc")
    assert (both.url, both.authorization()) == ("http://mine:1", f"Token {LEGACY}")


def test_an_empty_setup_takes_nothing_away() -> None:
    access = LabelStudioAccess(None, None)
    access.learn_from_setup("http://ls:1", "abc")

    access.learn_from_setup("", "")

    assert (access.url, access.authorization()) == ("http://ls:1", "Token abc")


def test_a_hostname_that_is_no_address_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    access = LabelStudioAccess(None, None)

    for _ in range(3):
        access.learn_from_setup("ls.example.com", "abc")

    assert access.url is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "ls.example.com" in caplog.text


@pytest.mark.parametrize(("url", "key"), [("ls:8080", None), (None, LEGACY), ("", LEGACY)])
def test_settings_that_cannot_work_are_refused(url: str | None, key: str | None) -> None:
    with pytest.raises(ValueError, match="LABEL_STUDIO_URL"):
        LabelStudioAccess(url, key)


def test_a_personal_token_is_exchanged_once_and_renewed_before_its_five_minutes_are_over() -> None:
    clock = Clock()
    with serving(exchange) as server:
        access = LabelStudioAccess(server.url, PERSONAL, clock=clock)
        first = [access.authorization() for _ in range(3)]
        clock.now_s += 239
        still = access.authorization()
        clock.now_s += 2
        renewed = access.authorization()

    assert first == ["Bearer bearer-1"] * 3
    assert (still, renewed) == ("Bearer bearer-1", "Bearer bearer-2")
    assert server.authorizations == [None, None]


def test_many_threads_make_one_exchange() -> None:
    answers: list[str | None] = []
    with serving(exchange) as server:
        access = LabelStudioAccess(server.url, PERSONAL)
        threads = [threading.Thread(target=lambda: answers.append(access.authorization())) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert answers == ["Bearer bearer-1"] * 16
    assert len(server.asked) == 1


def test_a_bearer_token_that_was_refused_is_renewed_once_for_all_who_held_it() -> None:
    with serving(exchange) as server:
        access = LabelStudioAccess(server.url, PERSONAL)
        refused = access.authorization()
        assert refused is not None
        first, second = access.renewed_authorization(refused), access.renewed_authorization(refused)

    assert (first, second) == ("Bearer bearer-2", "Bearer bearer-2")


def test_a_legacy_token_has_no_renewal_until_setup_brings_another() -> None:
    access = LabelStudioAccess("http://ls", None)
    access.learn_from_setup("http://ls", "abc")

    assert access.renewed_authorization("Token abc") is None
    access.learn_from_setup("http://ls", "def")
    assert access.renewed_authorization("Token abc") == "Token def"


def test_a_refused_personal_token_is_said_once_with_the_way_out(caplog: pytest.LogCaptureFixture) -> None:
    wrong = "a.b.c"
    with serving(exchange) as server:
        access = LabelStudioAccess(server.url, wrong)
        for _ in range(3):
            with pytest.raises(ImageForbiddenError, match="LABEL_STUDIO_API_KEY") as refused:
                access.authorization()

    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "Account & Settings" in caplog.text
    assert wrong not in caplog.text + str(refused.value)


def test_a_refusal_is_told_again_for_another_token(caplog: pytest.LogCaptureFixture) -> None:
    access = LabelStudioAccess("http://ls", None)
    for token in ("abc", "abc", "def"):
        access.learn_from_setup("http://ls", token)
        access.explain_refusal()

    assert len(caplog.records) == 2
    assert "POST /setup" in caplog.text


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(b"not found", 404), "answered 404"),
        (Answer(b"<html>", 200), "answered 200"),
        (Answer(b'{"access": 7}', 200), "answered 200"),
        (Answer(b'{"access": "a\\nb"}', 200), "answered 200"),
        (Answer(b"[]", 200), "answered 200"),
        (Answer(b"", 301, {"Location": "https://ls/api?x=y"}), "redirecting to https://ls/api in place"),
    ],
)
def test_an_answer_without_a_token_is_reported(answer: Answer, message: str) -> None:
    with serving(lambda asked: answer) as server:
        access = LabelStudioAccess(server.url, PERSONAL)
        with pytest.raises(ImageError, match=message):
            access.authorization()

    assert len(server.asked) == 1  # the token follows no redirect


def test_an_unreachable_label_studio_is_named() -> None:
    with serving(exchange) as server:
        url = server.url

    with pytest.raises(ImageError, match=f"{url} cannot be reached"):
        LabelStudioAccess(url, PERSONAL).authorization()


def test_a_silent_label_studio_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_module, "EXCHANGE_TIMEOUT_S", 0.1)
    silence = threading.Event()
    wait: Callable[[Asked], Answer] = lambda asked: Answer(str(silence.wait(5)).encode())  # noqa: E731

    with serving(wait) as server:
        with pytest.raises(ImageTimeoutError, match=r"within 0\.1 s"):
            LabelStudioAccess(server.url, PERSONAL).authorization()
        silence.set()
