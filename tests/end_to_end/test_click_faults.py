"""Faults during a click: of the real Label Studio, image servers, tokens, model files and the embeddings folder.

Each time the click gets a clear error of the right status, and the next one after the repair a mask, without a restart
of the backend.
"""

import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import urllib3

import sam_testing.backend_program as backend_program
from sam_backend.demo.child_process import free_port
from sam_backend.demo.user_actions import create_project, import_files, tasks_of_project
from sam_backend.label_studio.backend_registration import connect
from sam_testing.backend_program import BackendProgram
from sam_testing.label_studio import BRUSH_CONFIG, key_point, predict_request
from sam_testing.real_label_studio import RestartableLabelStudio
from sam_testing.seeded_checkpoints import write_seeded_checkpoint
from sam_testing.service import png_image
from sam_testing.web_server import Answer, Asked, WebServer, serving

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow, pytest.mark.timeout(290)]

FLOWER = Path("examples/photos/flower.jpg")


@dataclass
class Faults:
    """An HTTP proxy that applies `fault` to the requests whose path begins with `path`."""

    target: str = ""
    fault: str = ""
    path: str = "/"
    image: bytes = field(default_factory=png_image)

    def answer(self, asked: Asked) -> Answer:
        if self.fault and asked.path.startswith(self.path):
            return self._wrong()
        if not self.target:
            return Answer(self.image, headers={"Content-Type": "image/png"})
        headers = {name: value for name, value in asked.headers.items() if name not in ("host", "connection")}
        found = urllib3.request(
            asked.method, self.target + asked.path, headers=headers, body=asked.body, redirect=False, retries=False
        )
        kept = {name: value for name, value in found.headers.items() if name.lower() in ("content-type", "location")}
        return Answer(found.data, found.status, kept)

    def _wrong(self) -> Answer:
        if self.fault == "reset":
            return Answer(_broken_off())
        if self.fault == "half":
            half = self.image[: len(self.image) // 2]
            return Answer(half, headers={"Content-Length": str(len(self.image)), "Content-Type": "image/png"})
        if self.fault == "slow":
            return Answer(_slowly(self.image))
        if self.fault in ("html", "plain"):
            return Answer(b"a page that pretends to be well", headers={"Content-Type": f"text/{self.fault}"})
        return Answer(b'{"detail": "no"}', int(self.fault), {"Content-Type": "application/json"})


def _broken_off() -> Iterable[bytes]:
    yield b"\x89PNG"
    raise OSError("the connection breaks")


def _slowly(body: bytes) -> Iterable[bytes]:
    for at in range(len(body)):
        time.sleep(0.2)
        yield body[at : at + 1]


@pytest.fixture(scope="module")
def label_studio(
    label_studio_program: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RestartableLabelStudio]:
    program = RestartableLabelStudio(label_studio_program, tmp_path_factory.mktemp("faults"))
    try:
        yield program
    finally:
        program.stop()


@dataclass(frozen=True)
class Place:
    """A backend that reaches Label Studio through a proxy, and an image server."""

    label_studio: RestartableLabelStudio
    backend: BackendProgram
    proxy: Faults
    images: Faults
    image_server: WebServer

    def new_task(self, image: str | None = None) -> tuple[int, dict[str, Any]]:
        """Create a project with one task (an upload unless `image` is given).

        Return the id of the ML backend and the task.
        """
        api = self.label_studio.api
        project = create_project(api, "Faults", BRUSH_CONFIG).id
        if image is None:
            import_files(api, project, [FLOWER])
        else:
            api.call("POST", f"/api/projects/{project}/import", [{"data": {"image": image}}])
        model = connect(api, project, f"http://127.0.0.1:{self.backend.port}", "label-studio-sam").id
        (task,) = tasks_of_project(api, project)
        return model, {"id": task.id, "data": dict(task.data)}

    def click(self, model: int, task: dict[str, Any]) -> dict[str, Any]:
        """Send a click through Label Studio as the editor does; return the answer."""
        context = {"result": [key_point(40, 40, original_width=640, original_height=427)]}
        body = {"task": task["id"], "context": context}
        answer = self.label_studio.api.call("POST", f"/api/ml/{model}/interactive-annotating", body)
        assert isinstance(answer, dict)
        return answer

    def direct_click(self, task: dict[str, Any]) -> tuple[int, Any]:
        """Send the same click directly to the backend, as Label Studio does."""
        prompt = key_point(40, 40, original_width=640, original_height=427)
        return self.backend.ask("/predict", predict_request([prompt], data=task["data"], task_id=task["id"]))


@pytest.fixture(scope="module")
def place(label_studio: RestartableLabelStudio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder, proxy, images = tmp_path_factory.mktemp("backend"), Faults(label_studio.url), Faults()
    with ExitStack() as stack:
        url = stack.enter_context(serving(proxy.answer)).url
        image_server = stack.enter_context(serving(images.answer))
        settings = {"LABEL_STUDIO_URL": url, "LABEL_STUDIO_API_KEY": label_studio.token, "SAM_FETCH_TIMEOUT_S": "2"}
        settings |= {"SAM_RUNS_DIR": str(folder / "runs"), "SAM_ALLOW_PRIVATE_ADDRESSES": "1"}
        backend = BackendProgram(folder / "log", **settings)
        stack.callback(backend.stop)
        backend.wait_until(lambda: backend.ask("/ready")[0] == 200)
        yield Place(label_studio, backend, proxy, images, image_server)


def check_mask(answer: dict[str, Any]) -> None:
    assert answer.get("data", {}).get("result"), answer


IMAGE_FAULTS = (
    ("404", 404, "404"),
    ("401", 403, "401"),
    ("403", 403, "403"),
    ("429", 422, "429"),
    ("500", 422, "500"),
    ("502", 422, "502"),
    ("reset", 422, "image"),
    ("half", 422, "image"),
    ("slow", 424, "after 2 s"),
    ("plain", 422, "image"),
    ("html", 403, "login"),
)


@pytest.mark.parametrize(("fault", "status", "said"), IMAGE_FAULTS, ids=[each[0] for each in IMAGE_FAULTS])
def test_an_image_server_fails_and_recovers(place: Place, fault: str, status: int, said: str) -> None:
    model, task = place.new_task(f"{place.image_server.url}/{fault}.png")
    place.images.fault = fault
    try:
        shown = place.click(model, task)
        direct, answer = place.direct_click(task)
    finally:
        place.images.fault = ""

    assert str(status) in str(shown.get("errors")), shown
    assert direct == status, answer
    assert said in answer["error"]
    assert f"task {task['id']}" in answer["error"]
    check_mask(place.click(model, task))


LABEL_STUDIO_FAULTS = (
    ("401", 403, "token"),
    ("429", 422, "429"),
    ("500", 422, "500"),
    ("502", 422, "502"),
    ("reset", 422, "image"),
    ("half", 422, "image"),
    ("slow", 424, "after 2 s"),
)


@pytest.mark.parametrize(
    ("fault", "status", "said"), LABEL_STUDIO_FAULTS, ids=[each[0] for each in LABEL_STUDIO_FAULTS]
)
def test_label_studio_fails_to_give_an_upload_and_recovers(place: Place, fault: str, status: int, said: str) -> None:
    model, task = place.new_task()
    place.proxy.fault, place.proxy.path = fault, "/data/"
    try:
        shown = place.click(model, task)
        direct, answer = place.direct_click(task)
    finally:
        place.proxy.fault = ""

    assert str(status) in str(shown.get("errors")), shown
    assert direct == status, answer
    assert said in answer["error"]
    assert place.label_studio.token not in str(answer)
    check_mask(place.click(model, task))


def test_clicks_while_label_studio_restarts(place: Place) -> None:
    model, task = place.new_task()
    statuses = set()

    place.label_studio.stop()
    try:
        status, answer = place.direct_click(task)
        health, _ = place.backend.ask("/health")
        place.label_studio.start(waits=False)
        end = time.monotonic() + 240
        while (while_it_starts := place.direct_click(task)[0]) != 200 and time.monotonic() < end:
            statuses.add(while_it_starts)
    finally:
        place.label_studio.start() if while_it_starts != 200 else None

    assert (status, health) == (422, 200), answer
    assert "image" in answer["error"]
    assert while_it_starts == 200
    assert all(400 <= each < 500 or each == 503 for each in statuses), statuses
    check_mask(place.click(model, task))
    assert "Traceback" not in place.backend.log


# a folder of the backend that fails


def sam_backend(folder: Path, **settings: str) -> BackendProgram:
    checkpoint = write_seeded_checkpoint(folder / "seeded.pt")
    settings = {"SAM_MODEL": str(checkpoint), "SAM_RUNS_DIR": str(folder / "runs"), **settings}
    command = backend_program.COMMAND  # of a test that changes it
    program = BackendProgram(folder / "log", command, SAM_ALLOW_PRIVATE_ADDRESSES="1", **settings)
    program.wait_until(lambda: program.ask("/ready")[0] == 200, 120)
    return program


def masks(program: BackendProgram, url: str) -> int:
    prompt = key_point(30, 40)
    return program.ask("/predict", predict_request([prompt], data={"image": url}))[0]


def test_a_model_file_that_goes_away_ends_no_service_and_stops_the_next_start_with_its_name(tmp_path: Path) -> None:
    with serving(Faults().answer) as images:
        program = sam_backend(tmp_path)
        try:
            (tmp_path / "seeded.pt").unlink()
            assert masks(program, f"{images.url}/1.png") == 200
        finally:
            program.stop()

        env = backend_program.environment(SAM_MODEL=str(tmp_path / "seeded.pt"), SAM_RUNS_DIR=str(tmp_path / "runs"))
        command = [*backend_program.COMMAND, "serve", "--port", str(free_port(0))]
        ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)

    assert ended.returncode != 0
    assert "seeded.pt" in ended.stderr
    assert "Traceback" not in ended.stderr


def with_own_mount(monkeypatch: pytest.MonkeyPatch, folder: Path, options: str) -> None:
    """Mount a separate file system on `folder` for the started programs."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("mount namespaces are not allowed here")
    folder.mkdir()
    mount = f'mount -t tmpfs -o {options} tmpfs "$0" && exec "$@"'
    command = [unshare, "--mount", "sh", "-c", mount, str(folder), *backend_program.COMMAND]
    monkeypatch.setattr(backend_program, "COMMAND", command)


def in_its_mounts(program: BackendProgram, *command: str) -> None:
    subprocess.run(["nsenter", f"--mount=/proc/{program.process.pid}/ns/mnt", *command], check=True, timeout=30)


def test_a_full_embeddings_folder_costs_no_click(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "embeddings"
    with_own_mount(monkeypatch, folder, "size=1m")  # an embedding has 4 MiB
    with serving(Faults().answer) as images:
        program = sam_backend(tmp_path, SAM_EMBEDDINGS_DIR=str(folder))
        try:
            statuses = [masks(program, f"{images.url}/{number}.png") for number in range(2)]
            in_its_mounts(program, "mount", "-o", "remount,size=64m", str(folder))
            statuses.append(masks(program, f"{images.url}/3.png"))
        finally:
            program.stop()

    assert statuses == [200, 200, 200]
    assert "SAM_EMBEDDINGS_DIR" in program.log or "embedding" in program.log
    assert "Traceback" not in program.log


def test_an_embeddings_folder_that_turns_read_only_costs_no_click(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "embeddings"
    with_own_mount(monkeypatch, folder, "size=64m")
    images = Faults()
    with serving(images.answer) as server:
        program = sam_backend(tmp_path, SAM_EMBEDDINGS_DIR=str(folder))
        try:
            statuses = [masks(program, f"{server.url}/1.png")]
            in_its_mounts(program, "mount", "-o", "remount,ro", str(folder))
            images.image = png_image(41, 21)  # other bytes: another embedding
            statuses.append(masks(program, f"{server.url}/2.png"))
            in_its_mounts(program, "mount", "-o", "remount,rw", str(folder))
            images.image = png_image(42, 21)
            statuses.append(masks(program, f"{server.url}/3.png"))
        finally:
            program.stop()

    assert statuses == [200, 200, 200]
    assert "read-only" in program.log.lower() or "read only" in program.log.lower()
    assert "Traceback" not in program.log
