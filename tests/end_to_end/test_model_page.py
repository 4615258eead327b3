"""The models on the page, in a real browser: why `auto` chose one, download with progress, switch, a broken file."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.end_to_end.test_page import save_screenshot

from sam_testing.backend_program import BackendProgram
from sam_testing.tiny_catalogue import COMMAND, write_tiny_files
from sam_testing.web_server import Answer, Asked, serving

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(280)]

MOBILE, SAM_2, TAM = "mobile_sam", "sam2.1_hiera_tiny", "efficienttam_s"
LOADING_MS = 60_000


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return write_tiny_files(tmp_path / "tiny")


def test_a_model_is_downloaded_and_used_on_the_page_and_a_broken_one_leaves_it(
    browser: Browser, files: dict[str, Path], tmp_path: Path
) -> None:
    go_on, weights = threading.Event(), tmp_path / "weights"
    weights.mkdir()
    (weights / files[MOBILE].name).write_bytes(files[MOBILE].read_bytes())
    (weights / files[TAM].name).write_bytes(files[TAM].read_bytes()[:-1] + b"?")
    data = files[SAM_2].read_bytes()

    def slow(asked: Asked) -> Answer:
        def pieces() -> Iterator[bytes]:
            yield data[: 1 << 20]
            go_on.wait(60)
            yield data[1 << 20 :]

        return Answer(pieces() if asked.method == "GET" else b"", 200, {"Content-Length": str(len(data))})

    with serving(slow) as mirror:
        settings = {
            "SAM_MODEL": "auto",  # which prefers stored weights
            "SAM_OFFLINE": "0",
            "SAM_WEIGHTS_MIRROR": mirror.url,
            "SAM_WEIGHTS_DIR": str(weights),
            "SAM_RUNS_DIR": str(tmp_path / "runs"),
            "TINY_WEIGHTS": str(files[MOBILE].parent),
        }
        backend = BackendProgram(tmp_path / "log", COMMAND, **settings)
        try:
            with browser.new_context(viewport={"width": 1200, "height": 900}) as context:
                _use_models(context.new_page(), f"http://127.0.0.1:{backend.port}/", go_on)
        finally:
            backend.stop()


def _use_models(page: Page, url: str, go_on: threading.Event) -> None:
    page.goto(url)
    row = page.locator("#models tr", has_text=SAM_2)
    expect(row).to_contain_text("Apache-2.0")
    expect(page.locator("#models tr.used")).to_contain_text(MOBILE)
    expect(page.locator("#model-reason")).to_contain_text(
        f"{MOBILE} was chosen by SAM_MODEL=auto: the best published quality among the models whose embedding takes at "
        f"most 1.5 times as long as MobileSAM's"
    )
    expect(page.locator("#model-reason")).to_contain_text("its weights are stored")

    page.get_by_role("button", name=f"Download {SAM_2}").click()
    expect(row.locator("progress")).to_be_visible()
    save_screenshot(page, "model_download.png")
    go_on.set()
    page.get_by_role("button", name=f"Use {SAM_2}").click(timeout=LOADING_MS)
    expect(page.locator("#models tr.used")).to_contain_text(SAM_2, timeout=LOADING_MS)
    expect(page.locator("#model")).to_contain_text(SAM_2)
    expect(page.locator("#model-reason")).to_be_empty()

    page.get_by_role("button", name=f"Use {TAM}").click()
    expect(page.locator("#model-problem")).to_contain_text(f"Could not switch to {TAM}", timeout=LOADING_MS)
    expect(page.locator("#model-problem")).to_contain_text(
        "is not the file of efficienttam_s: it has the right size, but other bytes"
    )
    expect(page.locator("#models tr.used")).to_contain_text(SAM_2)
    save_screenshot(page, "model_problem.png")
