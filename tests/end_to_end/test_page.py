"""Bulk runs started in a real browser: on the backend's page, and from Label Studio's Data Manager."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.end_to_end.conftest import Services

from sam_testing.editor import Editor

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(280)]

FLOWER = Path("examples/photos/flower.jpg")
PALETTE = Path("examples/labeling_configs/labels_palette.xml").read_text()
RUN_MS = 120_000  # a run has to start a process, load, look and write


def save_screenshot(page: Page, name: str) -> None:
    """Save a screenshot of the page to the folder that SCREENSHOTS names."""
    folder = os.environ.get("SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / name, full_page=True)


def regions_shown(editor: Editor) -> int:
    """Return the regions of the annotation that the editor shows."""
    number: int = editor.page.evaluate("window.Htx.annotationStore.selected.regions.length")
    return number


def test_a_run_on_the_page_gives_masks_in_the_editor_and_undo_takes_them_away(
    editor: Editor, services: Services
) -> None:
    project, task = services.new_task("Flowers", PALETTE, FLOWER)
    page = editor.page.context.new_page()
    page.goto(f"{services.backend_url}/")

    page.get_by_label("Project").select_option(str(project))
    page.get_by_label("Find objects with").select_option("best.pt")  # lies in the folder of weights
    page.get_by_label("Label map").fill("person=Plant")
    page.get_by_label("Label map").press("Tab")
    expect(page.locator("#mapping")).to_contain_text("person → Plant")
    page.get_by_label("Find objects with").select_option("everything")
    page.get_by_role("spinbutton", name="Minimum score").fill("0.7")
    page.get_by_label("Label map").fill("object=Plant")
    page.get_by_label("Label map").press("Tab")
    expect(page.locator("#mapping")).to_contain_text("object → Plant")
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#preview img")).to_have_count(1, timeout=RUN_MS)
    page.get_by_role("button", name="Start").click()
    run = page.locator(".run", has_text="Flowers")
    expect(run.locator(".badge")).to_have_text("finished", timeout=RUN_MS)
    expect(run.locator(".numbers")).to_contain_text("1 of 1 tasks")
    save_screenshot(page, "page.png")

    opened = editor.open_task(project, task)
    (prediction,) = opened["predictions"]
    editor.page.wait_for_function("window.Htx?.annotationStore?.selected?.regions?.length > 0")
    assert regions_shown(editor) == sum(region["type"] == "brush" for region in prediction["result"])
    save_screenshot(editor.page, "predicted.png")

    page.bring_to_front()
    run.get_by_role("button", name="Undo").click()
    run.get_by_role("button", name=re.compile("Remove 1 prediction")).click()
    expect(run.locator(".badge")).to_have_text("undone", timeout=RUN_MS)
    assert services.api.call("GET", "/api/predictions/", query={"task": task}) == []
    assert editor.open_task(project, task)["predictions"] == []
    assert regions_shown(editor) == 0


def test_the_data_managers_menu_starts_a_run(editor: Editor, services: Services) -> None:
    project, task = services.new_task("From the menu", PALETTE, FLOWER)
    page = editor.page
    page.goto(f"{services.url}/projects/{project}/data")

    page.locator("input[type=checkbox]").first.check(force=True)
    page.get_by_text("1 Task", exact=True).first.click()
    page.get_by_text("Pre-annotate with SAM").click()
    page.locator("input[name=label_map]").fill("face=Person")
    if os.environ.get("SCREENSHOTS"):
        page.wait_for_timeout(1000)  # the dialog fades in
    save_screenshot(page, "action.png")
    with page.expect_response(lambda response: "id=preannotate_with_sam" in response.url) as answered:
        page.locator(".lsf-modal-ls__footer button", has_text="OK").click()

    answer: dict[str, Any] = answered.value.json()
    assert answer["async"] is True, answer
    run_id = re.match(r"Run (\S+) pre-annotates 1 tasks", answer["detail"])
    assert run_id is not None
    page.goto(f"{services.backend_url}/")
    run = page.locator(f'[data-run="{run_id[1]}"]')
    expect(run.locator(".badge")).to_have_text("finished", timeout=RUN_MS)
    (prediction,) = services.api.call("GET", "/api/predictions/", query={"task": task})
    assert prediction["model_version"].startswith("label-studio-sam classical+classical ")


def test_the_page_works_by_keyboard_and_keeps_to_itself(editor: Editor, services: Services) -> None:
    page = editor.page.context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    foreign: list[str] = []
    page.on("request", lambda request: foreign.append(request.url) if services.backend_url not in request.url else None)
    page.goto(f"{services.backend_url}/")
    page.locator("[name=detector] option").nth(3).wait_for(state="attached")

    reached = []
    page.locator("[name=project]").focus()
    for _ in range(15):
        reached.append(page.evaluate("document.activeElement.name || document.activeElement.textContent.trim()"))
        page.keyboard.press("Tab")

    assert reached[:5] == ["project", "detector", "text", "model", "tasks"]
    assert reached[-2:] == ["Preview", "Start"]
    assert problems == []
    assert [url for url in foreign if not url.startswith("data:")] == []
