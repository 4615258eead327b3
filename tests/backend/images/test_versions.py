"""The version of the image at each address, asked of real web servers."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from threading import Event

import pytest

from sam_backend.errors import (
    ImageError,
    ImageForbiddenError,
    ImageNotFoundError,
    ImageUnavailableError,
    LabelStudioForbiddenError,
)
from sam_backend.images.fetch import FetchedImage, FetchLimits, ImageFetcher, ImageRequest
from sam_backend.images.versions import ImageVersions
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_testing.web_server import Answer, Asked, WebServer, serving

OLD, NEW = b"the old image", b"the new image"  # of equal length
LONG_AGO, LATER = "Mon, 02 Nov 2026 10:00:00 GMT", "Tue, 03 Nov 2026 10:00:00 GMT"
NOW = "Tue, 24 Nov 2026 10:00:00 GMT"


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Shelf:
    """One image on a web server, with the headers that it has today."""

    body: bytes = OLD
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    knows_conditions: bool = True

    def __call__(self, asked: Asked) -> Answer:
        asks_for = asked.headers.get("if-none-match"), asked.headers.get("if-modified-since")
        has = self.headers.get("ETag"), self.headers.get("Last-Modified")
        headers = {"Date": NOW, **self.headers}
        if self.knows_conditions and asks_for != (None, None) and asks_for == has and self.status == 200:
            return Answer(b"", 304, headers)
        return Answer(self.body, self.status, headers)


@contextmanager
def versions_of(answer: Callable[[Asked], Answer], clock: Clock) -> Iterator[tuple[ImageVersions, WebServer]]:
    """With a fetcher whose Label Studio is the server."""
    with serving(answer) as server:
        access = LabelStudioCredentials(server.url, "0123456789abcdef0123456789abcdef01234567")
        yield ImageVersions(ImageFetcher(access, FetchLimits(timeout_s=10)), 5.0, clock=clock), server


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()


UPLOAD = ImageRequest("/data/upload/1/a.png", task_id=1, project_id=1)


def test_a_cloud_address_is_another_image_in_another_project() -> None:
    images = {"/tasks/1/resolve/": OLD, "/tasks/2/resolve/": NEW}
    with versions_of(lambda asked: Answer(images[asked.path.partition("?")[0]]), Clock()) as (versions, _):
        first = versions.get(ImageRequest("s3://bucket/x.png", task_id=1, project_id=1))
        second = versions.get(ImageRequest("s3://bucket/x.png", task_id=2, project_id=2))

    assert (first.digest, second.digest) == (digest(OLD), digest(NEW))


def test_an_address_behind_other_credentials_is_another_image() -> None:
    images = {None: b"public", "Basic YTox": OLD, "Basic Yjoy": NEW}

    def answer(asked: Asked) -> Answer:
        return Answer(images[asked.headers.get("authorization")])

    with serving(answer) as server:
        fetcher = ImageFetcher(LabelStudioCredentials(None, None), FetchLimits(allow_private_addresses=True))
        versions = ImageVersions(fetcher, 5.0)
        found = [
            versions.get(ImageRequest(f"{server.url}/x.png", login=login, password=password)).digest
            for login, password in ((None, None), ("a", "1"), ("b", "2"))
        ]

    assert found == [digest(data) for data in images.values()]


def test_a_relative_address_is_another_image_in_another_label_studio() -> None:
    fetchers = [
        ImageFetcher(LabelStudioCredentials(f"https://{host}", None), FetchLimits()) for host in ("a.org", "b.org")
    ]

    keys = {fetcher.key(UPLOAD) for fetcher in fetchers}

    assert len(keys) == 2


def test_a_known_image_is_not_asked_for_until_the_interval_is_over() -> None:
    clock = Clock()
    with versions_of(Shelf(headers={"ETag": '"1"'}), clock) as (versions, server):
        first = versions.get(UPLOAD)
        clock.now += 4.9
        second = versions.get(UPLOAD)
        asked_before = len(server.asked)
        clock.now += 0.2
        third = versions.get(UPLOAD)

    assert (first.data, second.data, third.data) == (OLD, None, None)
    assert {first.digest, second.digest, third.digest} == {digest(OLD)}
    assert (asked_before, len(server.asked)) == (1, 2)
    assert server.asked[1].headers["if-none-match"] == '"1"'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"ETag": '"1"'}, {"ETag": '"2"'}),
        ({"ETag": 'W/"1"', "Last-Modified": LONG_AGO}, {"ETag": 'W/"2"', "Last-Modified": LATER}),
        ({"Last-Modified": LONG_AGO}, {"Last-Modified": LATER}),
        ({}, {}),
    ],
    ids=["etag", "both", "last-modified", "neither"],
)
@pytest.mark.parametrize("knows_conditions", [True, False])
def test_a_replaced_image_is_seen_at_the_next_check(
    before: dict[str, str], after: dict[str, str], knows_conditions: bool
) -> None:
    clock = Clock()
    shelf = Shelf(headers=before, knows_conditions=knows_conditions)
    with versions_of(shelf, clock) as (versions, _):
        versions.get(UPLOAD)
        clock.now += 6
        unchanged = versions.get(UPLOAD)
        shelf.body, shelf.headers = NEW, after
        clock.now += 11  # a check that costs the whole image doubled the interval
        replaced = versions.get(UPLOAD)

    assert unchanged.digest == digest(OLD)
    assert (replaced.digest, replaced.data) == (digest(NEW), NEW)


def test_a_server_that_ignores_conditions_sends_no_body_twice() -> None:
    clock, sent = Clock(), []

    def answer(asked: Asked) -> Answer:
        def body() -> Iterator[bytes]:
            for _ in range(64):
                sent.append(1)
                yield b"x" * 1_000_000

        return Answer(body(), headers={"ETag": '"1"', "Content-Length": "64000000", "Date": NOW})

    with versions_of(answer, clock) as (versions, _):
        versions.get(UPLOAD)
        complete = len(sent)
        clock.now += 6
        again = versions.get(UPLOAD)

    assert complete == 64
    assert again.data is None


def test_without_validators_the_checks_become_rarer_and_never_end() -> None:
    clock = Clock()
    with versions_of(Shelf(), clock) as (versions, server):
        for _ in range(601):
            versions.get(UPLOAD)
            clock.now += 1

    assert len(server.asked) == 1 + 4 + 6  # after 5, 15, 35, 75 and then every 80 seconds


def test_a_file_that_changed_within_the_second_is_not_taken_for_the_old_one() -> None:
    clock = Clock()
    shelf = Shelf(headers={"Last-Modified": NOW, "ETag": '"made-of-time-and-size"'})
    with versions_of(shelf, clock) as (versions, _):
        versions.get(UPLOAD)
        shelf.body = NEW  # in the same second, and as long
        clock.now += 6
        replaced = versions.get(UPLOAD)

    assert replaced.digest == digest(NEW)


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_a_server_in_trouble_leaves_the_known_image_in_use(status: int, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    shelf = Shelf(headers={"ETag": '"1"'})
    with versions_of(shelf, clock) as (versions, server):
        versions.get(UPLOAD)
        shelf.status = status
        clock.now += 6
        found = [versions.get(UPLOAD) for _ in range(3)]

    assert {version.digest for version in found} == {digest(OLD)}
    assert len(server.asked) == 2
    assert caplog.text.count("could not check if the image '/data/upload/1/a.png' changed") == 1


def test_a_server_that_is_gone_or_silent_leaves_the_known_image_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sam_backend.images.versions.CHECK_TIMEOUT_S", 0.2)
    clock, answering = Clock(), Event()

    def answer(asked: Asked) -> Answer:
        if clock.now > 100:
            answering.wait(10)
        return Answer(OLD)

    with versions_of(answer, clock) as (versions, _):
        versions.get(UPLOAD)
        clock.now += 6
        silent = versions.get(UPLOAD)
        answering.set()
    clock.now += 60
    gone = versions.get(UPLOAD)

    assert (silent.digest, gone.digest) == (digest(OLD), digest(OLD))


@pytest.mark.parametrize(("status", "is_kept"), [(502, True), (401, False)])
def test_a_label_studio_that_gives_no_access_token_leaves_the_known_image_in_use(status: int, is_kept: bool) -> None:
    clock, exchange = Clock(), [Answer(b'{"access": "bearer"}')]
    with serving(lambda asked: exchange[-1] if "token" in asked.path else Answer(OLD)) as server:
        access = LabelStudioCredentials(server.url, "a.personal.token", clock=clock)
        versions = ImageVersions(ImageFetcher(access, FetchLimits()), 5.0, clock=clock)
        versions.get(UPLOAD)
        exchange.append(Answer(b"", status))
        clock.now += 600  # the bearer token's life is over

        if is_kept:
            assert versions.get(UPLOAD).digest == digest(OLD)
        else:
            with pytest.raises(LabelStudioForbiddenError):
                versions.get(UPLOAD)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, ImageForbiddenError), (403, ImageForbiddenError), (404, ImageNotFoundError), (410, ImageError)],
)
def test_an_image_that_is_refused_or_gone_is_not_answered_from_memory(status: int, kind: type[ImageError]) -> None:
    clock = Clock()
    shelf = Shelf(headers={"ETag": '"1"'})
    with versions_of(shelf, clock) as (versions, _):
        versions.get(UPLOAD)
        shelf.status = status
        clock.now += 6

        for _ in range(2):
            with pytest.raises(kind):
                versions.get(UPLOAD)


def test_validators_of_one_file_are_not_sent_to_another() -> None:
    clock, target = Clock(), ["/data/upload/1/one.png"]

    def answer(asked: Asked) -> Answer:
        if asked.path.startswith("/tasks/"):
            return Answer(b"", 302, {"Location": target[0]})
        if asked.headers.get("if-none-match") == '"1"':
            return Answer(b"", 304)
        return Answer(OLD if "one" in asked.path else NEW, headers={"ETag": '"1"'})

    asked = ImageRequest("s3://bucket/x.png", task_id=1)
    with versions_of(answer, clock) as (versions, server):
        versions.get(asked)
        clock.now += 6
        same = versions.get(asked)
        target[0] = "/data/upload/1/two.png"
        clock.now += 6
        other = versions.get(asked)

    assert (same.digest, same.data) == (digest(OLD), None)
    assert other.digest == digest(NEW)
    assert [each.headers.get("if-none-match") for each in server.asked if "one" in each.path] == [None, '"1"']


def test_an_image_that_another_label_studio_sent_is_not_remembered_as_the_first_ones() -> None:
    """A /setup may change Label Studio's address between the name of an image and its fetch."""
    access = [LabelStudioCredentials("http://127.0.0.1:9", None)]

    class Fetcher(ImageFetcher):
        def fetch_if_changed(self, *asked: object) -> FetchedImage:
            access.append(LabelStudioCredentials("http://127.0.0.1:10", None))
            return FetchedImage(NEW)

        def key(self, asked: ImageRequest) -> str:
            return ImageFetcher(access[-1], FetchLimits()).key(asked)

    versions = ImageVersions(Fetcher(access[0], FetchLimits()), 5.0)
    versions.get(UPLOAD)
    access.append(access[0])

    assert versions.fresh_digest(UPLOAD) is None


def test_one_thread_fetches_however_many_ask() -> None:
    go_on = Event()

    def answer(asked: Asked) -> Answer:
        go_on.wait(10)
        return Answer(OLD)

    with versions_of(answer, Clock()) as (versions, server), ThreadPoolExecutor(8) as threads:
        found = [threads.submit(versions.get, UPLOAD) for _ in range(8)]
        go_on.set()
        digests = {each.result(10).digest for each in found}

    assert digests == {digest(OLD)}
    assert len(server.asked) == 1


def test_a_failed_fetch_is_forgotten() -> None:
    shelf = Shelf(status=500)
    with versions_of(shelf, Clock()) as (versions, _):
        with pytest.raises(ImageUnavailableError):
            versions.get(UPLOAD)
        shelf.status = 200

        assert versions.get(UPLOAD).data == OLD


def test_an_image_inside_the_task_is_never_checked(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    caplog.set_level(logging.DEBUG)
    with versions_of(Shelf(), clock) as (versions, server):
        inline = ImageRequest("data:image/png;base64,AAAA")
        first = versions.get(inline)
        clock.now += 1e9
        second = versions.get(inline)

    assert first.digest == second.digest == digest(bytes(3))
    assert second.data is None
    assert server.asked == []
