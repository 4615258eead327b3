"""What a stranger who reaches the port can do with POST /setup: real servers on loopback count what arrives."""

import json
import time
from typing import Any

import pytest

from sam_backend.images.fetch import FetchLimits, ImageFetcher
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.settings import Settings
from sam_testing.label_studio import key_point, predict_request, setup_request
from sam_testing.service import SamService, png_image
from sam_testing.web_server import Answer, Asked, serving

SECRET = "AKIA-the-machine's-role"


def setup(service: SamService, hostname: object, token: object = "abc", **more: Any) -> Any:
    return service.client.post("/setup", json=setup_request() | {"hostname": hostname, "access_token": token} | more)


def test_a_token_from_setup_is_not_sent_to_the_host_of_a_later_setup() -> None:
    with serving(lambda _: Answer(png_image())) as first, serving(lambda _: Answer(png_image())) as second:
        access = LabelStudioCredentials(None, None)
        fetcher = ImageFetcher(access, FetchLimits())
        access.learn_from_setup(first.url, "token-of-the-first")
        access.learn_from_setup(second.url, "")
        fetcher.fetch("/data/upload/1/x.png")
        access.learn_from_setup(second.url, "another")
        fetcher.fetch("/data/upload/1/y.png")

    assert first.authorizations == ["Token token-of-the-first"] * 2
    assert second.asked == []


def test_a_refused_first_pair_is_replaced_without_its_token_going_to_the_second() -> None:
    with serving(lambda _: Answer(b"", 401)) as first, serving(lambda _: Answer(png_image())) as second:
        access = LabelStudioCredentials(None, None)
        fetcher = ImageFetcher(access, FetchLimits())
        access.learn_from_setup(first.url, "refused")
        with pytest.raises(Exception, match="refused"):
            fetcher.fetch("/data/upload/1/x.png")
        access.learn_from_setup(second.url, "accepted")
        fetcher.fetch("/data/upload/1/x.png")

    assert first.authorizations == ["Token refused"]
    assert second.authorizations == ["Token accepted"]


@pytest.mark.parametrize(
    "hostname",
    [
        "http://127.0.0.1:1/latest/meta-data/iam?x=",
        "http://ls/?",
        "http://ls/#",
        "http://ls#x",
        "http://ann:secret@ls",
        "http://@ls",
        "http://ann@ls",
        "ftp://ls",
        "file:///etc/passwd",
        "ls.example.com",
        "//ls",
        "http://",
        "http://:8080",
        "http://ls:99999",
        "http://ls:x",
        "http://[::1",
        "http://ls/%2e%2e/",
        "http://ls/a/../b",
        "http://ls/a;b",
        "http://ls\\@evil",
        "http:\\\\ls",
        "http://ls\n.evil",
        "http://ls\r\nX: y",
        "http://l\ts",
        "http://l s",
        "http://ls\x00",
        "http://l%73",
        "http://b\u00fccher.example",
        "http://" + "a" * 3000,
        "http://169.254.169.254",
        "http://169.254.169.254.",
        "http://2852039166",
        "http://0xa9fea9fe",
        "http://0251.0376.0251.0376",
        "http://0xa9.254.0251.254",
        "http://169.254.43518",
        "http://[fe80::1]",
        "http://[fe80::1%25eth0]",
        "http://[::ffff:169.254.169.254]",
        "http://[::ffff:a9fe:a9fe]",
        "http://[64:ff9b::169.254.169.254]",
        "http://[2002:a9fe:a9fe::]",
        "HTTP://169.254.169.254:80/ls",
        "http://\uff11\uff16\uff19.254.169.254",
        "http://169\u3002254\u3002169\u3002254",
        7,
        ["http://ls"],
    ],
)
def test_a_hostname_that_is_no_base_url_is_refused_and_not_quoted(hostname: object) -> None:
    service = SamService()

    response = setup(service, hostname)

    assert response.status_code == 400
    assert "hostname" in response.get_json()["error"]
    assert service.parts.credentials.credential is None
    assert "secret" not in response.text


@pytest.mark.parametrize(
    "hostname",
    ["http://localhost:8080", "https://ls.example.com/label-studio", "http://10.0.0.7:8080/", "http://[fd00::7]:8080"],
)
def test_what_label_studio_sends_as_hostname_is_taken(hostname: str) -> None:
    service = SamService()

    assert setup(service, hostname).status_code == 200
    assert service.parts.credentials.url == hostname.rstrip("/")


@pytest.mark.parametrize("token", ["\u20ac", "a\r\nX-Evil: 1", "a b", "a\x00", "\x7f", "x" * 5000, 7, {"a": 1}])
def test_a_token_that_cannot_stand_in_a_header_is_refused_and_not_quoted(token: object) -> None:
    service = SamService()

    response = setup(service, "http://localhost:8080", token)

    assert response.status_code == 400
    assert "access_token" in response.get_json()["error"]
    assert service.parts.credentials.credential is None


@pytest.mark.parametrize(
    ("hostname", "token"), [("", ""), (None, None), ("http://localhost:8080", ""), ("", "abc"), ("http://ls", None)]
)
def test_an_empty_hostname_or_token_connects(hostname: object, token: object) -> None:
    service = SamService()

    assert setup(service, hostname, token).status_code == 200
    assert service.parts.credentials.authorization() is None
    assert service.predict(predict_request([key_point(50, 50)]))["result"]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(SECRET.encode()),
        Answer(SECRET.encode(), 404),
        Answer(SECRET.encode(), 401),
        Answer(f"<html>{SECRET}".encode()),
        Answer(json.dumps({"detail": SECRET, "release": SECRET, "email": SECRET}).encode()),
        Answer(json.dumps({"detail": SECRET, "validation_errors": [SECRET]}).encode(), 400),
        Answer(json.dumps({"count": 1, "results": SECRET, "release": "1.23.2"}).encode()),
        Answer(json.dumps({"count": SECRET, "results": [{"id": SECRET}], "release": "1.23.2"}).encode()),
        Answer(json.dumps({"count": 1, "results": [{"id": SECRET}], "release": "1.23.2"}).encode()),
        Answer(json.dumps([SECRET]).encode()),
        Answer(json.dumps(SECRET).encode()),
        Answer(b"", 302, {"Location": f"http://127.0.0.1:1/{SECRET.replace(' ', '')}"}),
        Answer(b"", 200, {"Location": SECRET}),
    ],
)
@pytest.mark.parametrize("token", ["abc", "a.b.c"])
def test_what_a_host_of_a_setup_answers_is_shown_to_nobody(
    answer: Answer, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "sam_backend")
    with serving(lambda _: answer) as host:
        service = SamService()
        assert setup(service, f"{host.url}/latest/meta-data/iam", token).status_code == 200
        shown = [
            service.client.get("/api/projects"),
            service.client.post("/api/runs", json={"project": 1, "detector": "everything"}),
            service.client.post("/api/runs/preview", json={"project": 1, "detector": "everything"}),
            _status(service),
            service.client.get("/", headers={"Accept": "text/html"}),
        ]

    assert host.asked, "else nothing is tested"
    assert [response.status_code for response in shown[:3]] == [502] * 3 or answer.status == 404
    for text in [*(response.text for response in shown), caplog.text]:
        assert SECRET[:4] not in text


def test_label_studios_own_words_are_shown_where_the_settings_name_it() -> None:
    def answer(asked: Asked) -> Answer:
        return Answer(json.dumps({"detail": "no such tab"}).encode(), 400)

    with serving(answer) as host:
        service = SamService(Settings(label_studio_url=host.url, label_studio_api_key="abc"))
        response = service.client.get("/api/projects")

    assert "no such tab" in response.get_json()["error"]


def _status(service: SamService) -> Any:
    """/api/status, once Label Studio has been looked at."""
    end = time.monotonic() + 20
    while True:
        response = service.client.get("/api/status")
        if any(check["name"] == "Label Studio" for check in response.get_json()["checks"]):
            return response
        assert time.monotonic() < end
        time.sleep(0.01)
