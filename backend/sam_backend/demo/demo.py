"""The demo: start Label Studio and the backend, create projects with photographs, and check one click."""

import fcntl
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

import numpy as np
from PIL import Image

from sam_backend.demo.backend_process import START_TIMEOUT_S, backend_url, start_backend
from sam_backend.demo.bulk_run import RunFailedError, preannotate
from sam_backend.demo.child_process import ChildProcess, ProgramFailedError, free_port
from sam_backend.demo.label_studio_process import (
    FIRST_START_TIMEOUT_S,
    LabelStudioMissingError,
    find_label_studio,
    label_studio_url,
    start_label_studio,
)
from sam_backend.demo.login import Login, load_or_make_login, save_login
from sam_backend.demo.photos import CLICK, LABELING_CONFIG, PHOTOS, PhotosMissingError, photographs
from sam_backend.demo.simulated_click import (
    WrongMaskError,
    check_mask,
    context_of,
    draw_click,
    mask_from_prediction,
)
from sam_backend.demo.user_actions import (
    create_personal_access_token,
    create_project,
    import_files,
    interactive_prediction,
    tasks_of_project,
)
from sam_backend.errors import BackendError
from sam_backend.label_studio.backend_registration import RegistrationError, connect, registrations
from sam_backend.label_studio.client import LabelStudioApiError, LabelStudioClient
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.label_studio.projects import ProjectDetails, projects

CLICK_PROJECT = (
    "Click to mask",
    "Open a photograph, switch on Auto-Annotation, select the smart tool and a label, and click on an object.",
)
BULK_PROJECT = ("Pre-annotated", "A run made the predictions; the backend's page can undo it.")
BACKEND_TITLE = "label-studio-sam"
PROGRESS_EVERY_S = 10.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Say = Callable[[str], None]

FAILURES = (
    LabelStudioMissingError,
    PhotosMissingError,
    ProgramFailedError,
    LabelStudioApiError,
    RegistrationError,
    BackendError,
    WrongMaskError,
    RunFailedError,
    OSError,
)


class DemoRunsAlreadyError(OSError):
    """Another demo uses the folder."""


def run_demo(
    directory: Path = Path("demo"),
    *,
    exit_after_check: bool = False,
    label_studio_port: int = 8080,
    backend_port: int = 9090,
    say: Say = print,
) -> int:
    """Run the demo in `directory` and return the exit code: 0 if the click returned the right mask.

    The demo uses the first free ports from the given ones. It runs until Ctrl-C, or ends after the check, and stops
    all programs that it started.
    """
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with _only_demo_in(directory), _signals_end_us(), ExitStack() as programs:
            _bring_up(programs, directory, label_studio_port, backend_port, exit_after_check, say)
    except KeyboardInterrupt:
        say(f"stopped; your annotations are kept in {directory}/")
    except FAILURES as error:
        say(f"the demo failed: {error}")
        return 1
    return 0


def _bring_up(
    programs: ExitStack,
    directory: Path,
    label_studio_port: int,
    backend_port: int,
    exit_after_check: bool,
    say: Say,
) -> None:
    files = photographs()
    url, login, label_studio = _label_studio(programs, directory, free_port(label_studio_port), say)
    port = free_port(backend_port)
    say(f"backend: starting at {backend_url(port)}")
    runs = {"SAM_RUNS_DIR": str((directory / "runs").absolute())}
    backend = programs.enter_context(start_backend(port, url, login.api_key, directory / "backend.log", runs))
    programs.callback(_ignore_signals)  # runs first at the end, so that stopping is not interrupted
    backend.wait_for(f"{backend_url(port)}/ready", START_TIMEOUT_S, _waiting_messages(say))

    api = LabelStudioClient(LabelStudioCredentials(url, login.api_key))
    project = _project(api, *CLICK_PROJECT, files, say)
    backend_id = _connect(api, project, backend_url(port), say)
    _check_one_click(api, project, backend_id, directory / "click.png", say)
    many = _project(api, *BULK_PROJECT, files, say)  # a second project: predictions would overlap the clicks
    _connect(api, many, backend_url(port), say)
    preannotate(many.id, backend_url(port), say)
    if not exit_after_check:
        clicks, bulk = (f"{url}/projects/{each.id}/data" for each in (project, many))
        for line in _welcome(clicks, bulk, backend_url(port), login):
            say(line)
        _stay_up(label_studio, backend)


def _label_studio(programs: ExitStack, directory: Path, port: int, say: Say) -> tuple[str, Login, ChildProcess]:
    """Start Label Studio and return its URL, the user and the process; the first start creates the user and a token."""
    program, data, login_file = find_label_studio(), directory / "label-studio", directory / "login.json"
    is_first = not (data / "label_studio.sqlite3").exists()
    login = load_or_make_login(login_file)
    url = label_studio_url(port)
    say(f"Label Studio: starting at {url}" + (", creating its database first" if is_first else ""))
    label_studio = programs.enter_context(
        start_label_studio(program, data, port, login.email, login.password, directory / "label-studio.log")
    )
    programs.callback(_ignore_signals)
    label_studio.wait_for(f"{url}/health", FIRST_START_TIMEOUT_S, _waiting_messages(say))
    if is_first or not login.api_key:
        login = replace(login, api_key=create_personal_access_token(url, login.email, login.password))
        save_login(login, login_file)
    return url, login, label_studio


def _project(api: LabelStudioClient, title: str, description: str, files: list[Path], say: Say) -> ProjectDetails:
    """Return a project of the demo; create it with the photographs if it does not exist."""
    project = next((each for each in projects(api) if each.title == title), None)
    if project is None:
        project = create_project(api, title, LABELING_CONFIG.read_text(), description)
        import_files(api, project.id, files)
        say(f"project: {title!r} with {len(files)} photographs")
    else:
        say(f"project: {title!r}, from an earlier demo")
    return project


def _connect(api: LabelStudioClient, project: ProjectDetails, url: str, say: Say) -> int:
    """Register the backend and return its id; a registration at another port, of an earlier demo, is removed."""
    for registration in registrations(api, project.id):
        if registration.title == BACKEND_TITLE and registration.url != url:
            api.call("DELETE", f"/api/ml/{registration.id}")
    known = connect(api, project.id, url, BACKEND_TITLE)
    say("backend: connected, interactive")
    return known.id


def _check_one_click(api: LabelStudioClient, project: ProjectDetails, backend: int, drawing: Path, say: Say) -> None:
    """Send a click as the editor would, check the mask, and draw it into the file `drawing`."""
    task = next(
        (each for each in tasks_of_project(api, project.id) if str(each.data["image"]).endswith(CLICK.photo)), None
    )
    if task is None:
        raise LabelStudioApiError(
            f"the project {project.title!r} has no photograph {CLICK.photo}: delete it and start the demo again"
        )
    image = np.asarray(Image.open(PHOTOS / CLICK.photo).convert("RGB"))
    size = (image.shape[0], image.shape[1])
    start = time.monotonic()
    prediction = interactive_prediction(api, backend, task.id, context_of(CLICK, size))
    took_s = time.monotonic() - start
    mask = mask_from_prediction(prediction, size)
    draw_click(image, mask, CLICK).save(drawing)
    check_mask(mask, CLICK)
    say(
        f"click: one point on {CLICK.photo} gave a mask of {int(mask.sum())} pixels in {took_s:.2f} s, by "
        f"{prediction.get('model_version')}; see {drawing}"
    )


def _welcome(url: str, bulk_url: str, page: str, login: Login) -> list[str]:
    return [
        "",
        f"  Label Studio  {url}",
        f"  login         {login.email}",
        f"  password      {login.password}",
        "",
        "  Open a photograph, switch on Auto-Annotation below it, select the smart point or rectangle on its right,",
        "  select a label, and click on an object. Alt+click places a negative point; the tick accepts the mask.",
        "",
        f"  Run           {bulk_url}",
        f"  its page      {page}/",
        "",
        "  Ctrl-C stops the demo.",
    ]


def _stay_up(*children: ChildProcess) -> None:
    while all(child.is_running for child in children):
        time.sleep(0.5)
    ended = next(child for child in children if not child.is_running)
    raise ProgramFailedError(f"{ended.name} stopped unexpectedly\n{ended.last_words()}")


def _waiting_messages(say: Say) -> Callable[[float], None]:
    said_s = 0.0

    def still_waiting(waited_s: float) -> None:
        nonlocal said_s
        if waited_s - said_s >= PROGRESS_EVERY_S:
            said_s = waited_s
            say(f"  ... {waited_s:.0f} s")

    return still_waiting


@contextmanager
def _only_demo_in(directory: Path) -> Iterator[None]:
    """Lock the folder: two demos would share one database. The lock ends with the process."""
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoRunsAlreadyError(f"another demo is running in {directory.absolute()}; stop it first") from None
        yield


@contextmanager
def _signals_end_us() -> Iterator[None]:
    """Raise an exception for SIGTERM and SIGHUP, as for Ctrl-C, so that all programs are stopped."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore_signals() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
