"""The Data Manager's action without Label Studio around it: what it asks for, which backend it asks, what it refuses.

`rest_framework` is Label Studio's; of it the action needs one exception. The menu itself is clicked in end_to_end.
"""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from sam_backend.settings import Settings
from sam_model.registry import DETECTOR_NAMES
from sam_testing.service import SamService
from sam_testing.yolo_files import write_yolo_file


class ValidationError(Exception):
    """rest_framework's stand-in."""


@pytest.fixture
def action(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    framework, exceptions = ModuleType("rest_framework"), ModuleType("rest_framework.exceptions")
    exceptions.ValidationError = ValidationError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rest_framework", framework)
    monkeypatch.setitem(sys.modules, "rest_framework.exceptions", exceptions)
    monkeypatch.delitem(sys.modules, "label_studio_action.preannotate", raising=False)
    monkeypatch.delenv("SAM_BACKEND_URL", raising=False)
    import label_studio_action.preannotate

    return label_studio_action.preannotate


class Tasks(list[int]):
    """A queryset: the selected tasks."""

    def values_list(self, *_: Any, **__: Any) -> "Tasks":
        return self

    def filter(self, **_: Any) -> "Tasks":
        return self

    def distinct(self) -> "Tasks":
        return self

    def count(self) -> int:  # type: ignore[override]
        return len(self)


def project(*urls: str, password: str | None = None) -> Any:
    method = "BASIC_AUTH" if password else "NONE"
    models = [
        SimpleNamespace(url=url, auth_method=method, basic_auth_user="ann", basic_auth_pass=password) for url in urls
    ]
    return SimpleNamespace(id=7, ml_backends=SimpleNamespace(order_by=lambda _: models))


@contextmanager
def backend(answers: dict[str, tuple[int, Any]]) -> Iterator[tuple[str, list[Any]]]:
    """A server with these answers; gives its address and what it was asked."""
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append((self.path, json.loads(body) if body else None, self.headers.get("Authorization")))
            status, answer = answers.get(self.path, (404, {"error": "not here"}))
            text = json.dumps(answer).encode()
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", answer)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


HEALTHY = {"/health": (200, {"model_class": "label-studio-sam"})}


def test_all_tasks_are_asked_for_without_naming_them_and_others_by_their_ids(action: ModuleType) -> None:
    everything = {"selectedItems": {"all": True, "excluded": []}, "detector": "yolov8n"}
    some = {"selectedItems": {"all": False, "included": [4, 5]}}
    filtered = {"selectedItems": '{"all": true}', "filters": {"items": [{}]}, "which": "Only tasks without annotations"}

    assert action.configuration(7, everything, Tasks([1, 2])) == {
        "project": 7, "filter": {}, "detector": "yolov8n", "policy": "skip",
    }  # fmt: skip
    assert action.configuration(7, some, Tasks([4, 5]))["filter"] == {"ids": [4, 5]}
    assert action.configuration(7, filtered, Tasks([9]))["filter"] == {"ids": [9], "without_annotations": True}


def test_words_choose_the_best_detector_unless_another_one_is_chosen(action: ModuleType) -> None:
    asked = {"selectedItems": {"all": True}, "text": " cat, red car=Vehicle ", "detector": "classical"}

    found = action.configuration(7, asked, Tasks([1]))

    assert (found["text"], found["detector"]) == ("cat, red car=Vehicle", "auto")
    assert action.configuration(7, {**asked, "detector": "best.pt"}, Tasks([1]))["detector"] == "best.pt"


def test_similar_objects_are_searched_in_the_tasks_without_annotations(action: ModuleType) -> None:
    with backend({**HEALTHY, "/api/runs": (202, {"run": {"id": "r1"}})}) as (ours, asked):
        request = SimpleNamespace(data={"score_threshold": "0.6", "selectedItems": {"included": [4, 5]}})
        found = action.find_similar_with_sam(project(ours), Tasks([4, 5]), request=request)

    assert found["detail"] == "Run r1 finds what is like the annotations of 2 tasks"
    assert asked[-1][1] == {
        "project": 7, "detector": "exemplars", "example_tasks": [4, 5], "score_threshold": 0.6, "policy": "skip",
    }  # fmt: skip
    with pytest.raises(ValidationError, match="none of the selected tasks has an annotation"):
        action.find_similar_with_sam(project(), Tasks(), request=request)


def test_what_cannot_be_read_is_refused_by_the_name_of_its_field(action: ModuleType) -> None:
    for asked, words in (
        ({"score_threshold": "high"}, "Minimum score: 'high'"),
        ({"label_map": "car"}, "Label map: 'car'"),
        ({"selectedItems": {"included": []}}, "no task is selected"),
    ):
        with pytest.raises(ValidationError, match=words):
            action.configuration(7, asked, Tasks([] if "selectedItems" in asked else [1]))


def test_the_connected_model_that_is_ours_is_asked_with_its_password(action: ModuleType) -> None:
    with (
        backend({"/health": (200, {"model_class": "Another"})}) as (other, _),
        backend({**HEALTHY, "/api/runs": (202, {"run": {"id": "r1"}})}) as (ours, asked),
    ):
        request = SimpleNamespace(data={"which": "Only tasks without predictions"})
        found = action.preannotate_with_sam(project(other, ours, password="pw"), Tasks([1, 2]), request=request)

    assert found["detail"] == "Run r1 pre-annotates the tasks without predictions among 2"
    path, body, authorization = asked[-1]
    assert (path, body["project"], authorization) == ("/api/runs", 7, "Basic YW5uOnB3")


def test_the_address_of_the_environment_counts_first(action: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    with backend({"/api/runs": (202, {"run": {"id": "r1"}})}) as (ours, asked):
        monkeypatch.setenv("SAM_BACKEND_URL", ours.replace("//", "//ann:pw@"))
        found = action.preannotate_with_sam(project(), Tasks([1]), request=SimpleNamespace(data={}))

    assert found["detail"] == "Run r1 pre-annotates 1 tasks"
    assert asked == [("/api/runs", {"project": 7, "filter": {"ids": [1]}, "policy": "skip"}, "Basic YW5uOnB3")]


def test_the_api_token_goes_to_the_address_of_the_environment_only(
    action: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {**HEALTHY, "/api/runs": (202, {"run": {"id": "r1"}}), "/api/status": (200, {"detectors": ["x"]})}
    with backend(answers) as (ours, asked):
        monkeypatch.setenv("SAM_API_TOKEN", "s3cret")
        with pytest.raises(ValidationError, match="SAM_API_TOKEN needs SAM_BACKEND_URL"):
            action.preannotate_with_sam(project(ours), Tasks([1]), request=SimpleNamespace(data={}))
        assert "x" not in action.form(None, project(ours))[0]["fields"][0]["options"]
        assert {authorization for _, _, authorization in asked} == {None}
        monkeypatch.setenv("SAM_BACKEND_URL", ours)
        action.preannotate_with_sam(project(ours, password="pw"), Tasks([1]), request=SimpleNamespace(data={}))
        assert "x" in action.form(None, project(ours))[0]["fields"][0]["options"]

    assert [authorization for path, _, authorization in asked[-2:]] == ["Bearer s3cret"] * 2


def test_a_backend_that_cannot_be_asked_is_named(action: ModuleType) -> None:
    with (
        backend({"/health": (302, "http://evil.example/")}) as (redirecting, _),
        backend({**HEALTHY, "/api/runs": (400, {"error": "detector='x' is unknown"})}) as (refusing, _),
    ):
        for connected, words in (
            (project(), "no model; connect one"),
            (
                project("http://127.0.0.1:1"),
                r"no model of this project answers as one \(http://127.0.0.1:1\)",
            ),
            (project(redirecting), "no model of this project answers as one"),
            (project(refusing), "refused the run: detector='x' is unknown"),
        ):
            with pytest.raises(ValidationError, match=words):
                action.preannotate_with_sam(connected, Tasks([1]), request=SimpleNamespace(data={}))


def test_the_dialog_offers_the_detectors_of_the_backend(action: ModuleType, tmp_path: Path) -> None:
    own = write_yolo_file(tmp_path / "best.pt")
    status = SamService(Settings(detector=str(own))).client.get("/api/status").get_json()
    with backend({**HEALTHY, "/api/status": (200, status)}) as (ours, _):
        offered = action.form(None, project(ours))[0]["fields"][0]["options"]
        without = action.form(None, project("http://127.0.0.1:1"))[0]["fields"][0]["options"]

    assert set(offered) == set(status["detectors"]) > {"boxes", "everything", "exemplars", "best.pt", *DETECTOR_NAMES}
    assert without == offered[:4]
    assert without[0] == "classical", "the one that is chosen when the dialog opens"
