import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from sam_backend.demo.user_actions import (
    create_personal_access_token,
    import_files,
    interactive_prediction,
    tasks_of_project,
)
from sam_backend.label_studio.client import LabelStudioApiError, LabelStudioClient
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_testing.fake_label_studio import TOKEN, Store, fake_label_studio
from sam_testing.web_server import Answer, Asked, WebServer, serving


@contextmanager
def label_studio(answer: Callable[[Asked], Answer]) -> Iterator[tuple[LabelStudioClient, WebServer]]:
    with serving(answer) as server:
        yield LabelStudioClient(LabelStudioCredentials(server.url, "0123456789")), server


def as_json(value: object, status: int = 200) -> Answer:
    return Answer(json.dumps(value).encode(), status)


def test_tasks_of_all_pages_are_read_in_the_order_of_their_ids() -> None:
    store = Store()
    store.add_tasks(250, image="data:,")

    with fake_label_studio(store) as url:
        tasks = tasks_of_project(LabelStudioClient(LabelStudioCredentials(url, TOKEN)), 1)

    assert [task.id for task in tasks] == list(range(1, 251))
    assert tasks[0].data == {"image": "data:,"}


def test_files_are_uploaded_in_fields_of_their_own(tmp_path: Path) -> None:
    files = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    for file in files:
        file.write_bytes(file.name.encode() * 3)

    with label_studio(lambda asked: as_json({"task_count": 2}, 201)) as (api, server):
        import_files(api, 7, files)

    [asked] = server.asked
    assert asked.path == "/api/projects/7/import"
    assert b'name="file0"; filename="a.jpg"' in asked.body
    assert b'name="file1"; filename="b.jpg"' in asked.body
    assert b"b.jpgb.jpgb.jpg" in asked.body


def test_an_answer_that_hides_an_error_behind_200_is_an_error() -> None:
    with (
        label_studio(lambda asked: as_json({"errors": ["500 Server Error"]})) as (api, _),
        pytest.raises(LabelStudioApiError, match="500 Server Error"),
    ):
        interactive_prediction(api, 1, 2, None)


def test_the_prediction_of_the_backend_is_handed_on() -> None:
    with label_studio(lambda asked: as_json({"data": {"result": []}})) as (api, server):
        assert interactive_prediction(api, 1, 2, {"result": []}) == {"result": []}

    assert server.paths == ["/api/ml/1/interactive-annotating"]
    assert json.loads(server.asked[0].body) == {"task": 2, "context": {"result": []}}


def test_a_login_gives_a_personal_access_token() -> None:
    def answer(asked: Asked) -> Answer:
        if asked.path == "/api/token/":
            assert asked.headers["cookie"] == "csrftoken=two; sessionid=mine"
            assert asked.headers["x-csrftoken"] == "two"
            return as_json({"token": "a.b.c"}, 201)
        if asked.method == "GET":
            return Answer(headers={"Set-Cookie": "csrftoken=one; Path=/"})
        assert asked.headers["cookie"] == "csrftoken=one"
        assert parse_qs(asked.body.decode()) == {
            "email": ["me@example.com"],
            "password": ["a&b c"],
            "csrfmiddlewaretoken": ["one"],
        }
        return Answer(
            status=302, headers={"Set-Cookie": "csrftoken=two; Path=/", "Set-cookie": "sessionid=mine; HttpOnly"}
        )

    with serving(answer) as server:
        assert create_personal_access_token(server.url, "me@example.com", "a&b c") == "a.b.c"


def test_a_wrong_password_is_an_error() -> None:
    with (
        serving(lambda asked: Answer(b"<html>", headers={"Set-Cookie": "csrftoken=one"})) as server,
        pytest.raises(LabelStudioApiError, match=r"refused the login of me@example\.com"),
    ):
        create_personal_access_token(server.url, "me@example.com", "wrong")
