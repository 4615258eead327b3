"""A backend without a token or weights: its page and `doctor` name the cause and the next step."""

import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from tests.end_to_end.conftest import Services
from tests.end_to_end.test_page import save_screenshot

from sam_testing.backend_program import BackendProgram, environment

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(280)]

PALETTE = Path("examples/labeling_configs/labels_palette.xml").read_text()


def doctor(services: Services, token: str) -> subprocess.CompletedProcess[str]:
    settings = {"LABEL_STUDIO_URL": services.url, "LABEL_STUDIO_API_KEY": token}
    command = [sys.executable, "-m", "sam_backend.commands.main", "doctor"]
    env = environment(**settings)
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=100, check=False)


def test_the_page_of_a_backend_without_weights_and_with_a_refused_token_says_both(
    browser: Browser, services: Services, tmp_path: Path
) -> None:
    settings = {"LABEL_STUDIO_URL": services.url, "LABEL_STUDIO_API_KEY": "f" * 40, "SAM_MODEL": "auto"}
    program = BackendProgram(
        tmp_path / "log", SAM_RUNS_DIR=str(tmp_path / "runs"), SAM_WEIGHTS_DIR=str(tmp_path / "weights"), **settings
    )
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    try:
        page.goto(f"http://127.0.0.1:{program.port}/")
        problems = page.locator("#problems li")
        expect(problems).to_have_count(2, timeout=30_000)
        expect(problems.nth(0)).to_contain_text("the classical segmenter answers clicks, which is not a SAM model")
        expect(problems.nth(0)).to_contain_text("label-studio-sam weights download ")
        expect(problems.nth(1)).to_contain_text("Label Studio refuses the legacy token from LABEL_STUDIO_API_KEY")
        expect(problems.nth(1)).to_contain_text("Account & Settings")
        save_screenshot(page, "first_run.png")
        assert "f" * 40 not in page.content()
    finally:
        page.close()
        program.stop()
    assert "Token: Label Studio refuses the legacy token" in program.log


def test_the_doctor_finds_the_refused_token_and_then_the_connected_project(services: Services) -> None:
    services.new_task("For the doctor", PALETTE, Path("examples/photos/flower.jpg"))

    refused = doctor(services, "f" * 40)
    well = doctor(services, services.token)

    assert refused.returncode == 1
    assert "missing  Token: Label Studio refuses the legacy token" in refused.stdout
    assert well.returncode == 0, well.stdout + well.stderr
    assert "ok       Label Studio: 1.23.2 at" in well.stdout
    assert f"at {services.backend_url}" in well.stdout
