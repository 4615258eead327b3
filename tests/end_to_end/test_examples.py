"""Label one task in the browser, get the others: the Data Manager's action, the page's preview, corrections."""

import os
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect
from tests.end_to_end.conftest import Services

from sam_backend.demo.user_actions import create_project, import_files, tasks_of_project
from sam_backend.label_studio.backend_registration import connect
from sam_backend.shapes.labeled_objects import LabeledObject, objects_from_results
from sam_model.types import Mask
from sam_testing.drawn_classes import ALIKE, STAR, drawn_classes
from sam_testing.editor import Editor

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow, pytest.mark.timeout(600)]

PALETTE = Path("examples/labeling_configs/labels_palette.xml").read_text()
TASKS, CORRECTED = 12, 4
SCORE = 0.3  # low, so that the first run finds other objects too
RUN_MS = 200_000


class Project:
    """Twelve tasks with red stars, to be labeled `Thing`, among red rings and blue stars."""

    def __init__(self, services: Services, folder: Path) -> None:
        self.services, self.api = services, services.api
        self.number = create_project(self.api, "Stars", PALETTE).id
        files, drawn = [], {}
        for number in range(TASKS):
            image, objects = drawn_classes(301 + number, ALIKE)
            files.append(folder / f"stars{number:02d}.png")
            cv2.imwrite(str(files[-1]), image[..., ::-1])
            drawn[files[-1].stem] = [one.mask for one in objects if one.kind == STAR]
        import_files(self.api, self.number, files)
        connect(self.api, self.number, services.backend_url, "label-studio-sam")
        self.stars = {task.id: drawn[name] for task in tasks_of_project(self.api, self.number) for name in drawn
                      if name in task.data["image"]}  # fmt: skip
        self.tasks = sorted(
            self.stars, key=lambda task: min(n for n, name in enumerate(drawn) if drawn[name] is self.stars[task])
        )

    def found(self, task: int) -> list[LabeledObject]:
        (prediction,) = self.predictions(task)
        return objects_from_results(prediction["result"])[0]

    def precision_and_recall(self, tasks: list[int]) -> tuple[float, float]:
        found = [(self.stars[task], one.mask.mask) for task in tasks for one in self.found(task)]
        right = sum(is_star(mask, stars) for stars, mask in found)
        return right / len(found), right / sum(len(self.stars[task]) for task in tasks)

    def predictions(self, task: int) -> list[Any]:
        stored = self.api.call("GET", "/api/predictions/", query={"task": task})
        return [{name: value for name, value in one.items() if name != "created_ago"} for one in stored]

    def annotations(self) -> dict[int, Any]:
        stored = {task: self.api.call("GET", f"/api/tasks/{task}/annotations/") for task in self.tasks}
        return {task: [(each["id"], each["updated_at"], each["result"]) for each in of] for task, of in stored.items()}


def is_star(mask: Mask, stars: list[Mask]) -> bool:
    return any(np.count_nonzero(mask & star) > 0.5 * np.count_nonzero(mask | star) for star in stars)


def save_screenshot(page: Page, name: str) -> None:
    """Save a screenshot of the page to the folder that SCREENSHOTS names."""
    folder = os.environ.get("SCREENSHOTS")
    if folder:
        page.wait_for_timeout(1000)  # dialogs fade in
        page.screenshot(path=Path(folder) / name, full_page=True)


def label_stars_by_clicks(editor: Editor, project: Project, task: int) -> None:
    editor.open_task(project.number, task)
    editor.take_point("Thing")
    for star in project.stars[task]:
        rows, columns = np.nonzero(star)
        editor.choose_label("Thing")
        editor.click(100 * (columns.mean() + 0.5) / star.shape[1], 100 * (rows.mean() + 0.5) / star.shape[0])
        expect(editor.suggestions).to_have_text("1 suggestions")
        editor.accept()
    editor.submit()


def accept_stars_and_delete_the_rest(editor: Editor, project: Project, task: int) -> None:
    opened = editor.open_task(project.number, task)
    (prediction,) = opened["predictions"]
    regions = "window.Htx.annotationStore.selected.regions"
    editor.page.wait_for_function("window.Htx?.annotationStore?.selected?.regions?.length > 0")
    wrong = [one for one in project.found(task) if not is_star(one.mask.mask, project.stars[task])]
    assert editor.page.evaluate(f"{regions}.length") == len(objects_from_results(prediction["result"])[0])
    for one in wrong:
        editor.page.evaluate(
            "id => {const one = window.Htx.annotationStore.selected;"
            " one.selectArea(one.regions.find(region => region.cleanId === id))}",
            one.region_id,
        )
        editor.page.keyboard.press("Backspace")
    expect(editor.page.locator(".lsf-outliner-item__title", has_text="Thing")).to_have_count(
        len(project.found(task)) - len(wrong)
    )
    editor.submit()


def finished(page: Page, run: str) -> Locator:
    found = page.locator(f'[data-run="{run}"]')
    expect(found.locator(".badge")).to_have_text("finished", timeout=RUN_MS)
    return found


def test_label_one_task_find_the_others_correct_some_and_find_more_precisely(
    editor: Editor, services: Services, tmp_path: Path
) -> None:
    project = Project(services, tmp_path)
    first, *others = project.tasks
    corrected, rest = others[:CORRECTED], others[CORRECTED:]
    label_stars_by_clicks(editor, project, first)

    # the Data Manager: the selected task has the examples
    page = editor.page
    page.goto(f"{services.url}/projects/{project.number}/data")
    page.locator(".lsf-table__cell, .dm-table__cell").first.wait_for()
    save_screenshot(page, "manager.png")
    page.get_by_label(f"Select Task {first}", exact=True).dispatch_event("click")
    page.get_by_text("1 Task", exact=True).first.click()
    page.get_by_text("Find similar with SAM").click()
    page.locator("input[name=score_threshold]").fill(str(SCORE))
    save_screenshot(page, "find_similar.png")
    with page.expect_response(lambda response: "id=find_similar_with_sam" in response.url) as answered:
        page.locator(".lsf-modal-ls__footer button", has_text="OK").click()
    said = re.match(r"Run (\S+) finds what is like the annotations of 1 tasks?", answered.value.json()["detail"])
    assert said is not None, answered.value.text()
    page.goto(f"{services.backend_url}/")
    finished(page, said[1])
    assert [len(project.predictions(task)) for task in project.tasks] == [
        0,
        *[1] * (TASKS - 1),
    ]
    precision, recall = project.precision_and_recall(rest)

    for task in corrected:
        accept_stars_and_delete_the_rest(editor, project, task)
        save_screenshot(editor.page, f"corrected{task}.png")
    annotations = project.annotations()

    # the page: examples, a preview that writes nothing, and the slider
    stored = {task: project.predictions(task) for task in project.tasks}
    page.goto(f"{services.backend_url}/")
    page.get_by_label("Project").select_option(str(project.number))
    page.get_by_label("Find objects with").select_option("exemplars")
    page.get_by_label("If a task has a prediction").select_option("replace-own")
    minimum_score = page.get_by_role("spinbutton", name="Minimum score", exact=True)
    expect(minimum_score).to_have_attribute("placeholder", "0.5")
    minimum_score.fill(str(SCORE))
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#preview figure img")).to_have_count(len(rest), timeout=RUN_MS)
    examples = sum(len(project.stars[task]) for task in (first, *corrected))
    expect(page.locator("#preview .examples img")).to_have_count(min(examples, 12))
    expect(page.locator("#preview figure").first).to_have_attribute("title", re.compile(r"Scores: 0\.\d\d"))
    save_screenshot(page, "preview.png")
    slider = page.locator("#preview .scores input")
    remaining = []
    for score in (0.1, SCORE, 0.9):
        slider.fill(str(score))
        text = page.locator("#preview .scores p").inner_text()
        remaining.append(int(text.split()[0]))
        assert page.locator("#preview .drawn path:visible").count() == remaining[-1]
    assert remaining[0] > remaining[1] > remaining[2]
    slider.fill(str(SCORE))
    slider.dispatch_event("change")
    expect(minimum_score).to_have_value(str(SCORE))
    for task, before in stored.items():
        assert project.predictions(task) == before
    with page.expect_response(
        lambda response: response.request.method == "POST" and response.url.endswith("/api/runs")
    ) as started:
        page.get_by_role("button", name="Start").click()
    finished(page, started.value.json()["run"]["id"])
    save_screenshot(page, "finished.png")

    again = project.precision_and_recall(rest)
    assert again[0] > precision
    assert again[1] >= recall >= 0.9
    assert project.annotations() == annotations
