import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from sam_backend.label_studio.client import LabelStudioApiError, LabelStudioClient
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_testing.web_server import Answer, Asked, WebServer, serving


@contextmanager
def label_studio(answer: Callable[[Asked], Answer]) -> Iterator[tuple[LabelStudioClient, WebServer]]:
    with serving(answer) as server:
        yield LabelStudioClient(LabelStudioCredentials(server.url, "0123456789")), server


def as_json(value: object, status: int = 200) -> Answer:
    return Answer(json.dumps(value).encode(), status)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (as_json({"detail": "no such project"}, 404), "GET /api/tasks/3/annotations/ answered 404.*no such project"),
        (Answer(b"\n<!doctype html><html>", 404), "answered 404: a web page"),
        (Answer(b"\n<!doctype html><html>", 200), "answered no JSON"),
    ],
)
def test_an_error_names_the_call_and_what_came_back(answer: Answer, message: str) -> None:
    with label_studio(lambda asked: answer) as (api, _), pytest.raises(LabelStudioApiError, match=message):
        api.call("GET", "/api/tasks/3/annotations/")


def test_a_label_studio_that_is_not_there_is_an_error() -> None:
    api = LabelStudioClient(LabelStudioCredentials("http://127.0.0.1:9", "0123456789"))

    with pytest.raises(LabelStudioApiError, match="GET /api/projects/: Label Studio cannot be reached"):
        api.call("GET", "/api/projects/")
