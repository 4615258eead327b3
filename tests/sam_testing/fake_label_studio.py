"""A fake Label Studio over real HTTP: the API calls of a bulk run, with faults on request.

It answers as label-studio 1.23.2 does: pages by filter, imports that drop what does not fit, a 400 for a task that is
gone. As a program of its own (`python -m sam_testing.fake_label_studio TASKS`) it prints its address.
"""

import base64
import io
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import cv2
import numpy as np

TOKEN = "0123456789abcdef0123456789abcdef01234567"
CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="mask" toName="image">'
    '<Label value="person"/><Label value="face"/></BrushLabels></View>'
)


def disc_image() -> str:
    """Return a white disc on black, 48 x 64 pixels, as a data URL."""
    image = np.zeros((48, 64, 3), np.uint8)
    cv2.circle(image, (32, 24), 12, (255, 255, 255), -1)
    return "data:image/png;base64," + base64.b64encode(cv2.imencode(".png", image)[1].tobytes()).decode()


PERSONAL_TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJqdGkiOiIxIn0.c2lnbmF0dXJl"
FAULTS = ("", "429", "500", "502", "reset", "lost", "half", "empty", "slow")


@dataclass
class Store:
    """Projects, tasks, predictions and ordered faults of the fake Label Studio; tests read and change them."""

    config: str = CONFIG
    title: str = "Fake"
    created_at: str = "2026-01-02T03:04:05.678901Z"
    tasks: dict[int, dict[str, Any]] = field(default_factory=dict)
    annotations: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    predictions: dict[int, list[dict[str, Any]]] = field(default_factory=dict)  # task -> predictions
    model_version: str = ""
    troubles: list[tuple[int, bool]] = field(default_factory=list)  # answers to imports: (status, stored all the same?)
    dropped_tasks: set[int] = field(default_factory=set)  # their predictions are dropped as invalid
    keeps_regions: bool = True
    keeps_whole_regions: bool = False  # with their values, not only their ids
    is_allowed: bool = True
    extra_params: Any = None  # of the connected model
    models: list[dict[str, Any]] | None = None  # connected with the project; None: one without address
    release: str = "1.23.2"
    imports: int = 0
    fault: Callable[[str, str], str] | None = None  # of a request's method and path: what goes wrong, one of FAULTS
    requests_per_bearer: int | None = None  # after so many a bearer token has ended; None: legacy tokens only
    bearers: int = 0  # given out
    bearer_requests: int = 0  # with the present one
    views: dict[int, dict[str, Any]] = field(default_factory=dict)  # tabs of the Data Manager
    lock: threading.RLock = field(default_factory=threading.RLock)
    next_id: int = 1

    def add_tasks(self, number: int, image: str | None = None) -> list[int]:
        image = disc_image() if image is None else image
        first = len(self.tasks) + 1
        self.tasks.update({task: {"image": image} for task in range(first, first + number)})
        return list(range(first, first + number))

    def add_prediction(self, task: int, **prediction: Any) -> int:
        with self.lock:
            number, self.next_id = self.next_id, self.next_id + 1
            self.predictions.setdefault(task, []).append({"id": number, "task": task, "score": None, **prediction})
            return number

    @property
    def uid(self) -> str:
        """Return the project's identifier as POST /setup and POST /predict send it."""
        return f"1.{int(datetime.fromisoformat(self.created_at).timestamp())}"

    def allows(self, authorization: str | None) -> bool:
        """Return whether a token is accepted, and count the uses of bearer tokens."""
        with self.lock:
            if not self.is_allowed:
                return False
            if self.requests_per_bearer is None:
                return authorization == f"Token {TOKEN}"
            self.bearer_requests += 1
            is_alive = self.bearer_requests <= self.requests_per_bearer
            return authorization == f"Bearer bearer-{self.bearers}" and is_alive

    def annotations_of(self, task: int, *, skipped: bool = False) -> list[dict[str, Any]]:
        """Return the submitted annotations of a task, or those of annotators who skipped it."""
        return [one for one in self.annotations.get(task, []) if bool(one.get("was_cancelled")) == skipped]

    def versions(self, task: int) -> list[str]:
        return [str(one["model_version"]) for one in self.predictions.get(task, [])]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    store: Store

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def parse_request(self) -> bool:
        """Apply the fault that a test ordered."""
        if not super().parse_request():
            return False
        store = self.store
        self.trouble = store.fault(self.command, urlsplit(self.path).path) if store.fault is not None else ""
        if self.trouble == "slow":
            time.sleep(0.2)
        if self.trouble == "reset":
            self._reset()
            return False
        if self.trouble.isdecimal():
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._answer(int(self.trouble), {"detail": "trouble"})
            return False
        return True

    def _reset(self) -> None:
        """Close the connection with RST instead of FIN, as a crash does."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.wfile = self.rfile = io.BytesIO()  # type: ignore[assignment]

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        with self.store.lock:
            if parts.path == "/api/version":
                self._answer(200, {"release": self.store.release})
            elif not self.store.allows(self.headers.get("Authorization")):
                self._answer(401, {"detail": "Invalid token."})
            elif parts.path == "/api/projects/":
                self._answer(200, {"count": 1, "results": [self._project()]})
            elif parts.path == "/api/current-user/whoami":
                self._answer(200, {"id": 1})
            elif parts.path == "/api/ml/":
                only = [{"id": 1, "title": "", "url": "", "extra_params": self.store.extra_params}]
                self._answer(200, only if self.store.models is None else self.store.models)
            elif parts.path == "/api/projects/1/":
                self._answer(200, self._project())
            elif parts.path == "/api/tasks/":
                self._answer(200, self._tasks(asked))
            elif parts.path == "/api/dm/views/":
                self._answer(200, [{"id": number, **view} for number, view in self.store.views.items()])
            elif parts.path == "/api/dm/columns/":
                shown = {"explore": False, "labeling": False}
                names = ("predictions_score", "id", "created_at")
                columns = [{"id": name, "target": "tasks", "visibility_defaults": shown} for name in names]
                self._answer(200, {"columns": columns})
            elif parts.path == "/api/predictions/":
                self._answer(200, self.store.predictions.get(int(asked["task"]), []))
            else:
                self._answer(404, {"detail": "No Project matches the given query."})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/api/token/refresh/":
            with self.store.lock:
                self.store.bearers, self.store.bearer_requests = self.store.bearers + 1, 0
            self._answer(200, {"access": f"bearer-{self.store.bearers}"})
            return
        if self.store.requests_per_bearer is not None and not self.store.allows(self.headers.get("Authorization")):
            self._answer(401, {"detail": "Invalid token."})
            return
        if self.path == "/api/dm/views/":
            with self.store.lock:
                view, self.store.next_id = self.store.next_id, self.store.next_id + 1
                self.store.views[view] = json.loads(body)
            self._answer(201, {"id": view})
            return
        if self.path != "/api/projects/1/import/predictions":
            self._answer(404, {"detail": "Not found."})
            return
        with self.store.lock:
            self.store.imports += 1
            status, is_stored = self.store.troubles.pop(0) if self.store.troubles else (201, True)
            predictions = json.loads(body)
            if any(one["task"] not in self.store.tasks for one in predictions):
                self._answer(400, {"detail": "Validation error", "validation_errors": 'contains invalid "task" field'})
                return
            created = 0
            for one in predictions if is_stored else []:
                if one["task"] in self.store.dropped_tasks:
                    continue
                created += 1
                result = [{"id": region["id"]} for region in one["result"]] if self.store.keeps_regions else []
                result = one["result"] if self.store.keeps_whole_regions else result
                self.store.add_prediction(
                    one["task"], result=result, score=one["score"], model_version=one["model_version"]
                )
            if status == 0:  # the answer is lost
                self.close_connection = True
                self.connection.close()
                return
        self._answer(status, {"created": created} if status == 201 else {"detail": "trouble"})

    def do_PATCH(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        self.store.model_version = body["model_version"]
        self._answer(200, self._project())

    def do_DELETE(self) -> None:
        number = int(self.path.strip("/").rpartition("/")[2])
        with self.store.lock:
            if "/dm/views/" in self.path:
                is_there = self.store.views.pop(number, None) is not None
                self._answer(204 if is_there else 404, None if is_there else {"detail": "Not found."})
                return
            for found in self.store.predictions.values():
                for one in found:
                    if one["id"] == number:
                        found.remove(one)
                        self._answer(204, None)
                        return
        self._answer(404, {"detail": "Not found."})

    def _project(self) -> dict[str, Any]:
        store = self.store
        return {
            "id": 1,
            "title": store.title,
            "created_at": store.created_at,
            "label_config": store.config,
            "task_number": len(store.tasks),
            "model_version": store.model_version,
        }

    def _tasks(self, asked: dict[str, str]) -> dict[str, Any]:
        store, query = self.store, json.loads(asked.get("query", "{}"))
        ids = self._selected(query)
        page, size = int(asked.get("page", 1)), int(asked.get("page_size", 100))
        return {
            "total": len(ids) if isinstance(ids, list) else ids[1],
            "tasks": [self._task(task, asked) for task in _page(ids, page, size) if task in store.tasks],
        }

    def _selected(self, query: dict[str, Any]) -> Any:
        store = self.store
        selected = query.get("selectedItems")
        if selected:
            return [task for task in sorted(selected["included"]) if task in store.tasks]
        items = query.get("filters", {}).get("items", [])
        after = next((item["value"] for item in items if item["filter"] == "filter:tasks:id"), 0)
        if len(items) <= 1 and len(store.tasks) == max(store.tasks, default=0):  # ids without gaps: no need to look
            return range(after + 1, len(store.tasks) + 1), len(store.tasks) - after
        columns = {item["filter"].rpartition(":")[2] for item in items if item["operator"] == "equal"}
        if any(item["filter"] == "filter:tasks:total_annotations" for item in items) and not columns:
            return [task for task in sorted(store.tasks) if task > after and store.annotations_of(task)]
        if any(item["filter"] == "filter:tasks:cancelled_annotations" for item in items):
            return [task for task in sorted(store.tasks) if task > after and store.annotations_of(task, skipped=True)]
        return [
            task
            for task in sorted(store.tasks)
            if task > after
            and not ("total_annotations" in columns and store.annotations_of(task))
            and not ("total_predictions" in columns and store.predictions.get(task))
        ]

    def _task(self, task: int, asked: dict[str, str]) -> dict[str, Any]:
        store = self.store
        annotations, predictions = store.annotations.get(task, []), store.predictions.get(task, [])
        found = {
            "id": task,
            "data": store.tasks[task],
            "total_annotations": len(store.annotations_of(task)),
            "total_predictions": len(predictions),
            "is_labeled": bool(annotations),
        }
        if asked.get("fields") == "all":
            found |= {"annotations": annotations, "predictions": predictions}
            found["predictions_model_versions"] = ",".join(store.versions(task))
            if "include" in asked:  # also selects the fields of annotations and predictions
                kept = asked["include"].split(",")
                for name in ("annotations", "predictions"):
                    found[name] = [{key: one[key] for key in one if key in kept} for one in found[name]]
                found = {name: value for name, value in found.items() if name in kept}
        return found

    def _answer(self, status: int, body: object) -> None:
        trouble, text = getattr(self, "trouble", ""), b"" if body is None else json.dumps(body).encode()
        if trouble == "lost":
            self._reset()
            return
        text = b"" if trouble == "empty" else text
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        if status == 429:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(text[: len(text) // 2] if trouble == "half" else text)
        if trouble == "half":
            self.close_connection = True


def _page(ids: Any, page: int, size: int) -> Any:
    found = ids if isinstance(ids, list) else ids[0]
    return found[(page - 1) * size : page * size]


@contextmanager
def fake_label_studio(store: Store, port: int = 0) -> Iterator[str]:
    """Serve `store` and yield the address."""
    handler = type("Handler", (_Handler,), {"store": store})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def fake_program(tasks: int, images: Sequence[str]) -> Iterator[str]:
    """Serve `tasks` tasks, to which the images are assigned in turn, from a separate process; yield the address."""
    command = [sys.executable, "-m", "sam_testing.fake_label_studio", str(tasks), "--images"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        try:
            program.stdin.write(json.dumps(list(images)) + "\n")
            program.stdin.flush()
            yield program.stdout.readline().strip()
        finally:
            program.kill()


def main() -> None:
    has_images = "--images" in sys.argv
    store = Store(keeps_regions=has_images)
    images = json.loads(sys.stdin.readline()) if has_images else ["data:,"]
    store.tasks = {task: {"image": images[task % len(images)]} for task in range(1, int(sys.argv[1]) + 1)}
    with fake_label_studio(store) as url:
        sys.stdout.write(url + "\n")
        sys.stdout.flush()
        while True:
            time.sleep(60)


if __name__ == "__main__":
    main()
