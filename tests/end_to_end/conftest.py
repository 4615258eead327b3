"""The real parts, each started once: Label Studio, gunicorn with the backend, Chromium."""

import os
import shutil
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from sam_backend.demo.backend_process import backend_url, start_backend
from sam_backend.demo.child_process import free_port
from sam_backend.demo.label_studio_process import (
    LabelStudioMissingError,
    find_label_studio,
    label_studio_url,
    start_label_studio,
)
from sam_backend.demo.login import Login, load_or_make_login
from sam_backend.label_studio.access import LabelStudioAccess
from sam_backend.label_studio.api import LabelStudioApi, create_personal_access_token

CHROMIUM_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WAIT_MS = 30_000  # for anything that the page should do: machines are busy at times
LOGS = pytest.StashKey[list[Path]]()


@dataclass(frozen=True)
class Services:
    """What runs while the tests run."""

    url: str
    login: Login
    token: str
    backend_url: str
    api: LabelStudioApi

    def new_task(self, title: str, labeling_config: str, photo: Path) -> tuple[int, int]:
        """A new project with one photograph and the backend connected: (project, task)."""
        project = self.api.create_project(title, labeling_config)
        self.api.import_files(project.id, [photo])
        self.api.connect_backend(project.id, self.backend_url, "label-studio-sam")
        return project.id, self.api.tasks(project.id)[0].id


class Editor:
    """Label Studio's editor in a browser, used as a person uses it; positions are percent of the image.

    The selectors are those of label-studio 1.23.2.
    """

    def __init__(self, page: Page, services: Services) -> None:
        self.page = page
        self._services = services

    def log_in(self) -> None:
        """Fill in the form."""
        self.page.goto(f"{self._services.url}/user/login/")
        self.page.fill("input[name=email]", self._services.login.email)
        self.page.fill("input[name=password]", self._services.login.password)
        self.page.click("button[type=submit]")
        self.page.wait_for_url(lambda url: "login" not in url, wait_until="commit")

    def open_task(self, project: int, task: int) -> dict[str, Any]:
        """Open a task from the data manager; what Label Studio told the page about it comes back."""
        with self.page.expect_response(lambda response: f"/api/tasks/{task}?" in response.url) as opened:
            self.page.goto(f"{self._services.url}/projects/{project}/data?task={task}")
        self.page.locator(".konvajs-content canvas").first.wait_for()
        answer: dict[str, Any] = opened.value.json()
        self.page.wait_for_function("document.querySelector('.lsf-image img')?.naturalWidth > 0")
        return answer

    def switch_on(self, toggle: str) -> None:
        """Switch on Auto-Annotation ("auto-annotation") or Auto-Accept Suggestions ("auto-accept")."""
        switch = self.page.get_by_test_id(f"bottombar-{toggle}-toggle")
        switch.dispatch_event("click")  # the input itself lies invisible under its drawing
        expect(switch).to_be_checked()

    def choose_tool(self, tool: str) -> None:
        """Take a smart tool: they hide behind one button that shows all when the mouse is over it."""
        smart = self.page.locator(".lsf-toolbar > div > .lsf-tool_smart")
        smart.hover()
        self.page.locator(f".lsf-toolbar__smart [aria-label={tool}]").click()
        self.page.locator(f".lsf-tool_active [aria-label={tool}].lsf-tool_active").wait_for(state="attached")

    def choose_label(self, label: str, palette: int = 0) -> None:
        """Choose a label unless it is chosen: a second click would let go of it."""
        button = self.page.locator(".lsf-label", has_text=label).nth(palette)
        if "lsf-label_selected" not in (button.get_attribute("class") or ""):
            button.click()

    def click(self, x: float, y: float, *, is_positive: bool = True) -> list[dict[str, Any]]:
        """Click, with Alt where the point is beside the object; the prompts that the page sent come back."""
        with self.page.expect_response("**/interactive-annotating") as answered:
            if not is_positive:
                self.page.keyboard.down("Alt")
            self.page.mouse.click(*self._on_screen(x, y))
            if not is_positive:
                self.page.keyboard.up("Alt")
        return _prompts_of(answered.value)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> list[dict[str, Any]]:
        """Draw a rectangle; the prompts that the page sent come back."""
        with self.page.expect_response("**/interactive-annotating") as answered:
            self.page.mouse.move(*self._on_screen(*start))
            self.page.mouse.down()
            self.page.mouse.move(*self._on_screen(*end), steps=5)
            self.page.mouse.up()
        return _prompts_of(answered.value)

    @property
    def suggestions(self) -> Locator:
        """The text below the picture that counts the suggestions."""
        return self.page.locator(".lsf-auto-accept__info")

    def accept(self) -> None:
        """Accept all suggestions: the tick below the picture."""
        self.page.get_by_test_id("bottombar-accept-suggestions-button").click()
        self.suggestions.wait_for(state="detached")

    def submit(self) -> None:
        """Submit the annotation and wait until Label Studio has it."""
        with self.page.expect_response(
            lambda response: "/annotations" in response.url and response.request.method == "POST"
        ) as stored:
            self.page.get_by_test_id("bottombar-submit-button").click()
        assert stored.value.status == 201, stored.value.text()

    def _on_screen(self, x: float, y: float) -> tuple[float, float]:
        # the picture may be larger than the canvas over it, so only its own box tells where a pixel is
        box = self.page.locator(".lsf-image img").bounding_box()
        assert box is not None
        return box["x"] + x / 100 * box["width"], box["y"] + y / 100 * box["height"]


def _prompts_of(response: Any) -> list[dict[str, Any]]:
    answer = response.json()
    assert "data" in answer, answer
    prompts: list[dict[str, Any]] = response.request.post_data_json["context"]["result"]
    return prompts


def _not_possible(reason: str) -> NoReturn:
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Chromium: of CHROMIUM, else of the PATH."""
    named = os.environ.get("CHROMIUM")
    found = [shutil.which(name) for name in ([named] if named else ["chromium", "google-chrome"])]
    path = next((path for path in found if path), None)
    if path is None:
        _not_possible("no Chromium: `apt-get install chromium`, or CHROMIUM=/path/to/it")
    return path


@pytest.fixture(scope="session")
def label_studio_program() -> Path:
    """The program `label-studio`, of .venv-labelstudio or of the PATH."""
    try:
        return find_label_studio()
    except LabelStudioMissingError as error:
        _not_possible(str(error))


@pytest.fixture(scope="session")
def services(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    label_studio_program: Path,
    chromium_path: str,
) -> Iterator[Services]:
    """Label Studio with one user, and the backend with the classical segmenter; Chromium must be there too."""
    directory = tmp_path_factory.mktemp("end_to_end")
    logs = request.config.stash[LOGS] = [directory / "label-studio.log", directory / "backend.log"]
    login = load_or_make_login(directory / "login.json")
    port = free_port(0)
    url = label_studio_url(port)
    with ExitStack() as programs:
        label_studio = programs.enter_context(
            start_label_studio(label_studio_program, directory / "data", port, login.email, login.password, logs[0])
        )
        label_studio.wait_for(f"{url}/health", 180, lambda waited_s: None)
        token = create_personal_access_token(url, login.email, login.password)
        backend_port = free_port(0)
        settings = {"SAM_MODEL": "classical", "SAM_RUNS_DIR": str(directory / "runs")}
        backend = programs.enter_context(start_backend(backend_port, url, token, logs[1], settings))
        backend.wait_for(f"{backend_url(backend_port)}/health", 60, lambda waited_s: None)
        yield Services(url, login, token, backend_url(backend_port), LabelStudioApi(LabelStudioAccess(url, token)))


@pytest.fixture(scope="session")
def browser(chromium_path: str) -> Iterator[Browser]:
    """One Chromium for all tests."""
    with ExitStack() as stack:
        playwright = stack.enter_context(sync_playwright())
        expect.set_options(timeout=WAIT_MS)
        launch = playwright.chromium.launch(executable_path=chromium_path, args=CHROMIUM_ARGUMENTS)
        yield stack.enter_context(launch)


@pytest.fixture
def editor(browser: Browser, services: Services) -> Iterator[Editor]:
    """A logged-in browser without a past."""
    with browser.new_context(viewport={"width": 1400, "height": 800}) as context:
        context.set_default_timeout(WAIT_MS)
        editor = Editor(context.new_page(), services)
        editor.log_in()
        yield editor


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the ends of both logs with a failed test, and keep a picture of the page."""
    report = yield
    logs = item.config.stash.get(LOGS, [])
    if report.failed and item.get_closest_marker("end_to_end"):
        for log in logs:
            lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
            report.sections.append((log.name, "\n".join(lines[-60:])))
        editor = getattr(item, "funcargs", {}).get("editor", SimpleNamespace(page=None))
        if logs and editor.page is not None and not editor.page.is_closed():
            picture = logs[0].with_name(f"{item.name}.png")
            editor.page.screenshot(path=picture)
            report.sections.append(("page", str(picture)))
    return report
