import json
import logging
import threading
from collections.abc import Callable

import pytest

from sam_backend.errors import LabelStudioError, LabelStudioForbiddenError, LabelStudioTimeoutError
from sam_backend.label_studio import credentials as access_module
from sam_backend.label_studio.credentials import Credential, LabelStudioCredentials, origin_of
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
    assert LabelStudioCredentials("https://ls.example.com/prefix", None).is_own_origin(url) is is_own


def test_nothing_is_known_before_settings_or_setup_say_it() -> None:
    access = LabelStudioCredentials(None, None)

    assert (access.url, access.authorization()) == (None, None)
    assert not access.is_own_origin("http://localhost:8080")


def test_setup_fills_what_the_settings_left_open() -> None:
    nothing, address, both = (
        LabelStudioCredentials(None, None),
        LabelStudioCredentials("http://mine:1/ls/", None),
        LabelStudioCredentials("http://mine:1", LEGACY),
    )

    for access in (nothing, address, both):
        access.learn_from_setup("http://mine:1/ls/", "abc")

    assert (nothing.url, nothing.authorization()) == ("http://mine:1/ls", "Token abc")
    assert (address.url, address.authorization()) == ("http://mine:1/ls", "Token abc")
    assert (both.url, both.authorization()) == ("http://mine:1", f"Token {LEGACY}")


def test_a_learned_token_goes_to_no_other_origin_than_that_of_its_setup(caplog: pytest.LogCaptureFixture) -> None:
    access = LabelStudioCredentials("http://mine:1", None)

    for hostname in ("http://theirs:2", "http://mine:2", "https://mine:1", ""):
        access.learn_from_setup(hostname, "abc")

    assert (access.url, access.authorization()) == ("http://mine:1", None)
    assert len(caplog.records) == 3


@pytest.mark.parametrize("token", ["", "def"])
def test_the_first_pair_stays_and_another_origin_is_warned_of_once(
    token: str, caplog: pytest.LogCaptureFixture
) -> None:
    access = LabelStudioCredentials(None, None)
    access.learn_from_setup("http://first:1", "abc")

    for _ in range(3):
        access.learn_from_setup("http://second:1", token)

    assert (access.url, access.authorization()) == ("http://first:1", "Token abc")
    (record,) = caplog.records
    assert "http://second:1" in record.getMessage()
    assert "LABEL_STUDIO_URL" in record.getMessage()


def test_another_pair_is_believed_once_label_studio_refused_the_first() -> None:
    access = LabelStudioCredentials(None, None)
    access.learn_from_setup("http://first:1", "abc")

    access.explain_refusal()
    access.learn_from_setup("http://first:1", "abc")
    access.learn_from_setup("http://second:1", "")
    still = access.credential
    access.learn_from_setup("http://second:1", "def")
    access.learn_from_setup("http://third:1", "ghi")

    assert still == Credential("http://first:1", "abc")
    assert (access.url, access.authorization()) == ("http://second:1", "Token def")


def test_a_refusal_makes_room_for_a_token_of_the_address_in_the_settings_only() -> None:
    access = LabelStudioCredentials("http://mine:1", None)
    access.learn_from_setup("http://mine:1", "abc")

    access.explain_refusal()
    access.learn_from_setup("http://theirs:1", "def")
    access.learn_from_setup("http://mine:1", "ghi")

    assert (access.url, access.authorization()) == ("http://mine:1", "Token ghi")


def test_an_address_without_a_token_gives_way_to_the_first_pair() -> None:
    access = LabelStudioCredentials(None, None)
    access.learn_from_setup("http://first:1", "")
    access.learn_from_setup("http://second:1", "")
    assert access.url == "http://first:1"

    access.learn_from_setup("http://second:1", "abc")

    assert (access.url, access.authorization()) == ("http://second:1", "Token abc")


def test_a_credential_that_was_asked_for_keeps_its_token_whatever_is_learned_meanwhile() -> None:
    access = LabelStudioCredentials(None, None)
    access.learn_from_setup("http://first:1", "abc")
    first = access.credential
    assert first is not None
    access.explain_refusal()
    access.learn_from_setup("http://second:1", "def")

    assert access.authorization(first) == "Token abc"
    assert access.renewed_authorization("Token abc", first) is None


def test_warnings_about_strangers_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    access = LabelStudioCredentials(None, None)
    access.learn_from_setup("http://first:1", "abc")

    for port in range(1, 1000):
        access.learn_from_setup(f"http://stranger:{port}", "x")

    assert len(caplog.records) == access_module.MAX_WARNINGS


def test_the_token_is_not_in_the_credentials_text() -> None:
    assert LEGACY not in repr(Credential("http://ls", LEGACY))


def test_a_child_process_gets_the_pair_and_learns_where_it_comes_from() -> None:
    learned = LabelStudioCredentials(None, None)
    learned.learn_from_setup("http://ls:1", "abc")

    assert LabelStudioCredentials("http://ls:1", "abc").child_environment() == {
        "LABEL_STUDIO_URL": "http://ls:1",
        "LABEL_STUDIO_API_KEY": "abc",
    }
    assert learned.child_environment() == {
        "LABEL_STUDIO_URL": "http://ls:1",
        "LABEL_STUDIO_API_KEY": "abc",
        "SAM_LABEL_STUDIO_IS_LEARNED": "1",
    }


def test_an_empty_setup_takes_nothing_away() -> None:
    access = LabelStudioCredentials(None, None)
    access.learn_from_setup("http://ls:1", "abc")

    access.learn_from_setup("", "")

    assert (access.url, access.authorization()) == ("http://ls:1", "Token abc")


@pytest.mark.parametrize(("url", "key"), [("ls:8080", None), (None, LEGACY), ("", LEGACY)])
def test_settings_that_cannot_work_are_refused(url: str | None, key: str | None) -> None:
    with pytest.raises(ValueError, match="LABEL_STUDIO_URL"):
        LabelStudioCredentials(url, key)


def test_a_personal_token_is_exchanged_once_and_renewed_before_its_five_minutes_are_over() -> None:
    clock = Clock()
    with serving(exchange) as server:
        access = LabelStudioCredentials(server.url, PERSONAL, clock=clock)
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
        access = LabelStudioCredentials(server.url, PERSONAL)
        threads = [threading.Thread(target=lambda: answers.append(access.authorization())) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert answers == ["Bearer bearer-1"] * 16
    assert len(server.asked) == 1


def test_a_bearer_token_that_was_refused_is_renewed_once_for_all_who_held_it() -> None:
    with serving(exchange) as server:
        access = LabelStudioCredentials(server.url, PERSONAL)
        refused = access.authorization()
        assert refused is not None
        first, second = access.renewed_authorization(refused), access.renewed_authorization(refused)

    assert (first, second) == ("Bearer bearer-2", "Bearer bearer-2")


def test_a_legacy_token_has_no_renewal_until_setup_brings_another() -> None:
    access = LabelStudioCredentials("http://ls", None)
    access.learn_from_setup("http://ls", "abc")

    assert access.renewed_authorization("Token abc") is None
    access.explain_refusal()
    access.learn_from_setup("http://ls", "def")
    assert access.renewed_authorization("Token abc") == "Token def"


def test_a_refused_personal_token_is_said_once_with_the_way_out(caplog: pytest.LogCaptureFixture) -> None:
    wrong = "a.b.c"
    with serving(exchange) as server:
        access = LabelStudioCredentials(server.url, wrong)
        for _ in range(3):
            with pytest.raises(LabelStudioForbiddenError, match="LABEL_STUDIO_API_KEY") as refused:
                access.authorization()

    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "Account & Settings" in caplog.text
    assert wrong not in caplog.text + str(refused.value)


def test_a_refusal_is_told_again_for_another_token(caplog: pytest.LogCaptureFixture) -> None:
    access = LabelStudioCredentials("http://ls", None)
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
        (Answer(b"", 301, {"Location": "https://ls/api?x=y"}), "redirecting to https://ls/api instead"),
    ],
)
def test_an_answer_without_a_token_is_reported(answer: Answer, message: str) -> None:
    with serving(lambda asked: answer) as server:
        access = LabelStudioCredentials(server.url, PERSONAL)
        with pytest.raises(LabelStudioError, match=message):
            access.authorization()

    assert len(server.asked) == 1  # the token follows no redirect


def test_an_unreachable_label_studio_is_named() -> None:
    with serving(exchange) as server:
        url = server.url

    with pytest.raises(LabelStudioError, match=f"{url} cannot be reached"):
        LabelStudioCredentials(url, PERSONAL).authorization()


def test_a_silent_label_studio_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_module, "EXCHANGE_TIMEOUT_S", 0.1)
    silence = threading.Event()
    wait: Callable[[Asked], Answer] = lambda asked: Answer(str(silence.wait(5)).encode())  # noqa: E731

    with serving(wait) as server:
        with pytest.raises(LabelStudioTimeoutError, match=r"within 0\.1 s"):
            LabelStudioCredentials(server.url, PERSONAL).authorization()
        silence.set()
