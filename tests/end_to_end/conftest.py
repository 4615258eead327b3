"""Fixtures of real programs, each started once: Label Studio, the backend on gunicorn, Chromium."""

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from sam_backend.demo.backend_process import backend_url, start_backend
from sam_backend.demo.child_process import free_port
from sam_backend.demo.label_studio_process import (
    LabelStudioMissingError,
    find_label_studio,
    label_studio_url,
    start_label_studio,
)
from sam_backend.demo.login import Login, load_or_make_login
from sam_backend.demo.user_actions import create_personal_access_token, create_project, import_files, tasks_of_project
from sam_backend.label_studio.backend_registration import connect
from sam_backend.label_studio.client import LabelStudioClient
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_testing.editor import CHROMIUM_ARGUMENTS, WAIT_MS, Editor, find_chromium
from sam_testing.migrated_database import copy_migrated_database
from sam_testing.possible import not_possible
from sam_testing.yolo_files import write_yolo_file

OWN_DETECTOR = "best.pt"  # in the backend's folder of weights
LOGS = pytest.StashKey[list[Path]]()


@dataclass(frozen=True)
class Services:
    """The running programs of the tests."""

    url: str
    login: Login
    token: str
    backend_url: str
    api: LabelStudioClient

    def new_task(self, title: str, labeling_config: str, photo: Path) -> tuple[int, int]:
        """Create a project with one photograph and connect the backend; return (project, task)."""
        project = create_project(self.api, title, labeling_config)
        import_files(self.api, project.id, [photo])
        connect(self.api, project.id, self.backend_url, "label-studio-sam")
        return project.id, tasks_of_project(self.api, project.id)[0].id


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Return the path of Chromium: CHROMIUM, else from the PATH."""
    path = find_chromium()
    if path is None:
        not_possible("no Chromium: `apt-get install chromium`, or CHROMIUM=/path/to/it")
    return path


@pytest.fixture(scope="session")
def label_studio_program() -> Path:
    """Return the path of `label-studio`: in .venv-labelstudio, else from the PATH."""
    try:
        return find_label_studio()
    except LabelStudioMissingError as error:
        not_possible(str(error))


@pytest.fixture(scope="session")
def services(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    label_studio_program: Path,
    chromium_path: str,
) -> Iterator[Services]:
    """Start Label Studio with one user and the backend with the classical segmenter; needs Chromium."""
    directory = tmp_path_factory.mktemp("end_to_end")
    logs = request.config.stash[LOGS] = [directory / "label-studio.log", directory / "backend.log"]
    login = load_or_make_login(directory / "login.json")
    port = free_port(0)
    url = label_studio_url(port)
    copy_migrated_database(label_studio_program, directory / "data")
    with ExitStack() as programs:
        label_studio = programs.enter_context(
            start_label_studio(label_studio_program, directory / "data", port, login.email, login.password, logs[0])
        )
        label_studio.wait_for(f"{url}/health", 300, lambda waited_s: None)
        token = create_personal_access_token(url, login.email, login.password)
        backend_port = free_port(0)
        (directory / "weights").mkdir()
        write_yolo_file(directory / "weights" / OWN_DETECTOR)
        settings = {
            "SAM_MODEL": "classical",
            "SAM_TEXT_DETECTOR": "classical",
            "SAM_RUNS_DIR": str(directory / "runs"),
            "SAM_WEIGHTS_DIR": str(directory / "weights"),
        }
        backend = programs.enter_context(start_backend(backend_port, url, token, logs[1], settings))
        backend.wait_for(f"{backend_url(backend_port)}/health", 60, lambda waited_s: None)
        yield Services(
            url, login, token, backend_url(backend_port), LabelStudioClient(LabelStudioCredentials(url, token))
        )


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Browser]:
    """Start one Chromium for the tests of a file; as long as it runs, no test of this process can use asyncio."""
    with ExitStack() as stack:
        playwright = stack.enter_context(sync_playwright())
        expect.set_options(timeout=WAIT_MS)
        launch = playwright.chromium.launch(executable_path=chromium_path, args=CHROMIUM_ARGUMENTS)
        yield stack.enter_context(launch)


@pytest.fixture
def editor(browser: Browser, services: Services) -> Iterator[Editor]:
    """Return a new, logged-in browser context."""
    with browser.new_context(viewport={"width": 1400, "height": 800}) as context:
        context.set_default_timeout(WAIT_MS)
        editor = Editor(context.new_page(), services.url, services.login)
        editor.log_in()
        yield editor


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the ends of both logs to the report of a failed test, and save a screenshot of the page."""
    report = yield
    logs = item.config.stash.get(LOGS, [])
    if report.failed and item.get_closest_marker("end_to_end"):
        for log in logs:
            lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
            report.sections.append((log.name, "\n".join(lines[-60:])))
        editor = getattr(item, "funcargs", {}).get("editor", SimpleNamespace(page=None))
        if logs and editor.page is not None and not editor.page.is_closed():
            screenshot = logs[0].with_name(f"{item.name}.png")
            editor.page.screenshot(path=screenshot)
            report.sections.append(("page", str(screenshot)))
    return report
