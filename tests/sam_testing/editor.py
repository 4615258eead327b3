"""Label Studio's editor in a real browser."""

import os
import shutil
from typing import Any

from playwright.sync_api import Locator, Page, expect

from sam_backend.demo.login import Login

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


def find_chromium() -> str | None:
    """Return the path of the browser: CHROMIUM, else from the PATH."""
    named = os.environ.get("CHROMIUM")
    found = [shutil.which(name) for name in ([named] if named else ["chromium", "google-chrome"])]
    return next((path for path in found if path), None)


class Editor:
    """Label Studio's editor in a browser, controlled by mouse and keyboard; positions are percent of the image.

    The selectors are those of label-studio 1.23.2.
    """

    def __init__(self, page: Page, url: str, login: Login) -> None:
        self.page, self._url, self._login = page, url, login

    def log_in(self) -> None:
        """Log in with the form."""
        self.page.goto(f"{self._url}/user/login/")
        self.page.fill("input[name=email]", self._login.email)
        self.page.fill("input[name=password]", self._login.password)
        self.page.click("button[type=submit]")
        self.page.wait_for_url(lambda url: "login" not in url, wait_until="commit")

    def open_task(self, project: int, task: int) -> dict[str, Any]:
        """Open a task from the Data Manager; return the task as Label Studio sent it to the page."""
        with self.page.expect_response(lambda response: f"/api/tasks/{task}?" in response.url) as opened:
            self.page.goto(f"{self._url}/projects/{project}/data?task={task}")
        self.page.locator(".konvajs-content canvas").first.wait_for()
        answer: dict[str, Any] = opened.value.json()
        self.page.wait_for_function("document.querySelector('.lsf-image img')?.naturalWidth > 0")
        return answer

    def switch_on(self, toggle: str) -> None:
        """Switch on Auto-Annotation ("auto-annotation") or Auto-Accept Suggestions ("auto-accept").

        The browser keeps both for further tasks.
        """
        switch = self.page.get_by_test_id(f"bottombar-{toggle}-toggle")
        if not switch.is_checked():
            switch.dispatch_event("click")  # the input itself lies invisible under its drawing
        expect(switch).to_be_checked()

    def choose_tool(self, tool: str) -> None:
        """Choose a smart tool; one button shows all of them while the mouse is over it."""
        smart = self.page.locator(".lsf-toolbar > div > .lsf-tool_smart")
        smart.hover()
        self.page.locator(f".lsf-toolbar__smart [aria-label={tool}]").click()
        self.page.locator(f".lsf-tool_active [aria-label={tool}].lsf-tool_active").wait_for(state="attached")

    def choose_label(self, label: str, palette: int = 0) -> None:
        """Choose a label unless it is already chosen: a second click would deselect it."""
        button = self.page.locator(".lsf-label", has_text=label).nth(palette)
        if "lsf-label_selected" not in (button.get_attribute("class") or ""):
            button.click()

    def take_point(self, label: str) -> None:
        """Switch on Auto-Annotation, and choose the smart point tool and a label."""
        self.switch_on("auto-annotation")
        self.choose_tool("key-point-tool")
        self.choose_label(label)

    def click(self, x: float, y: float, *, is_positive: bool = True) -> list[dict[str, Any]]:
        """Click, with Alt for a negative point; return the prompts that the page sent."""
        with self.page.expect_response("**/interactive-annotating") as answered:
            if not is_positive:
                self.page.keyboard.down("Alt")
            self.page.mouse.click(*self._on_screen(x, y))
            if not is_positive:
                self.page.keyboard.up("Alt")
        return _prompts_of(answered.value)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> list[dict[str, Any]]:
        """Draw a rectangle; return the prompts that the page sent."""
        with self.page.expect_response("**/interactive-annotating") as answered:
            self.page.mouse.move(*self._on_screen(*start))
            self.page.mouse.down()
            self.page.mouse.move(*self._on_screen(*end), steps=5)
            self.page.mouse.up()
        return _prompts_of(answered.value)

    def click_corners(self, *corners: tuple[float, float]) -> list[dict[str, Any]]:
        """Click the corners of a rectangle with three points; return the prompts that the page sent."""
        *first, last = corners
        for corner in first:
            self.page.mouse.click(*self._on_screen(*corner))
        with self.page.expect_response("**/interactive-annotating") as answered:
            self.page.mouse.move(*self._on_screen(*last), steps=5)
            self.page.mouse.click(*self._on_screen(*last))
        return _prompts_of(answered.value)

    def type_words(self, words: str) -> list[dict[str, Any]]:
        """Type words into the first `<TextArea>` and press *Add*; return the prompts that the page sent."""
        self.page.locator(".lsf-text-area textarea, .lsf-text-area input").first.fill(words)
        with self.page.expect_response("**/interactive-annotating") as answered:
            self.page.get_by_role("button", name="Add", exact=True).click()
        return _prompts_of(answered.value)

    @property
    def suggestions(self) -> Locator:
        """Return the text below the image that counts the suggestions."""
        return self.page.locator(".lsf-auto-accept__info")

    def accept(self) -> None:
        """Accept all suggestions with the tick below the image."""
        self.page.get_by_test_id("bottombar-accept-suggestions-button").click()
        self.suggestions.wait_for(state="detached")

    def submit(self) -> None:
        """Submit the annotation and wait until Label Studio has stored it."""
        with self.page.expect_response(
            lambda response: "/annotations" in response.url and response.request.method == "POST"
        ) as stored:
            self.page.get_by_test_id("bottombar-submit-button").click()
        assert stored.value.status == 201, stored.value.text()

    def _on_screen(self, x: float, y: float) -> tuple[float, float]:
        # the image may be larger than the canvas over it, so only its own box tells where a pixel is
        box = self.page.locator(".lsf-image img").bounding_box()
        assert box is not None
        return box["x"] + x / 100 * box["width"], box["y"] + y / 100 * box["height"]


def _prompts_of(response: Any) -> list[dict[str, Any]]:
    answer = response.json()
    assert "data" in answer, answer
    prompts: list[dict[str, Any]] = response.request.post_data_json["context"]["result"]
    return prompts
