"""The page of a backend that requires an API token, in a real browser, without Label Studio."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from sam_testing.backend_program import BackendProgram

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(280)]


def test_the_page_asks_for_the_token_once_and_says_when_it_is_wrong(browser: Browser, tmp_path: Path) -> None:
    backend = BackendProgram(tmp_path / "log", SAM_RUNS_DIR=str(tmp_path / "runs"), SAM_API_TOKEN="s3cret")
    url = f"http://localhost:{backend.port}/"
    try:
        with browser.new_context() as context:
            page = context.new_page()
            page.goto(url)
            token = page.get_by_label("API token")
            expect(token).to_be_focused()
            expect(page.locator("#problems")).to_contain_text("requires its API token")
            token.fill("wrong")
            token.press("Enter")
            expect(page.locator("#token-error")).to_have_text("The backend refused this token.")
            token.fill("s3cret")
            page.get_by_role("button", name="Use this token").click()
            expect(page.locator("[name=detector] option")).not_to_have_count(0)
            expect(token).to_be_hidden()

            page.reload()  # sessionStorage keeps it
            expect(page.locator("[name=detector] option")).not_to_have_count(0)
            expect(token).to_be_hidden()
            assert "s3cret" not in page.url + page.content()

            other = context.new_page()
            other.goto(url)  # another tab has a session of its own
            expect(other.get_by_label("API token")).to_be_visible()
    finally:
        backend.stop()

    assert "s3cret" not in backend.log
