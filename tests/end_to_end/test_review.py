"""Evaluation and review in the real Label Studio: planted annotators, the score column, the tab, two users."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from playwright.sync_api import Browser, Page, expect
from tests.end_to_end.conftest import Services
from tests.end_to_end.test_page import RUN_MS, save_screenshot
from tests.end_to_end.test_preannotate import run_command

from sam_backend.demo.login import Login
from sam_backend.demo.user_actions import create_project, tasks_of_project
from sam_backend.label_studio.backend_registration import connect
from sam_testing.editor import WAIT_MS, Editor
from sam_testing.fake_label_studio import disc_image
from sam_testing.planted_annotators import planted_tasks

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow, pytest.mark.timeout(550)]

CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="mask" toName="image" smart="false">'
    '<Label value="person"/><Label value="face"/></BrushLabels>'
    '<RectangleLabels name="box" toName="image" smart="false"><Label value="person"/></RectangleLabels></View>'
)
TASKS = 200
SECOND = Login("second@example.com", "second-password-1")


def command(services: Services, folder: Path, *arguments: str) -> dict[str, Any]:
    """Run a command with --json and return its result."""
    found = run_command(services, folder, *arguments, "--json")
    assert found.returncode == 0, found.stderr
    answer: dict[str, Any] = json.loads(found.stdout)
    return answer


def test_evaluate_finds_what_the_annotators_did(services: Services, tmp_path: Path) -> None:
    """200 tasks, imported over the API with predictions and annotations of planted annotators."""
    project = create_project(services.api, "Planted", CONFIG).id
    tasks, planted = planted_tasks(TASKS, seed=7)
    body = [
        {
            "data": {"image": disc_image()},
            "predictions": [{"result": one.predicted, "model_version": planted.version, "score": 0.5}],
            "annotations": [{"result": one.annotated, "lead_time": 9.5}],
        }
        for one in tasks
    ]
    for first in range(0, TASKS, 50):
        services.api.call("POST", f"/api/projects/{project}/import", body[first : first + 50])

    found = command(
        services,
        tmp_path,
        *("evaluate", "--project", str(project), "--model-version", planted.version),
        *("--out", str(tmp_path / "report.html")),
    )

    assert found["tasks"] == {"reviewed": TASKS, "unreviewed": 0}
    assert {name: found["all"][name] for name in planted.outcomes} == planted.outcomes
    assert found["all"]["corrected_iou"] == pytest.approx(planted.corrected_iou, abs=1e-4)
    for report in found["labels"]:
        assert {name: report[name] for name in planted.by_label[report["label"]]} == planted.by_label[report["label"]]
    assert found["time"]["median_lead_time_s"] == 9.5
    if os.environ.get("SCREENSHOTS"):
        (Path(os.environ["SCREENSHOTS"]) / "report.html").write_bytes((tmp_path / "report.html").read_bytes())


def sign_up(services: Services) -> None:
    """Create a second user of the same organization."""
    http = urllib3.PoolManager(retries=False)
    url = f"{services.url}{services.api.call('GET', '/api/invite')['invite_url']}"
    form = http.request("GET", url)
    cookies = dict(one.split(";")[0].split("=", 1) for one in form.headers.getlist("Set-Cookie"))
    fields = {"email": SECOND.email, "password": SECOND.password, "csrfmiddlewaretoken": cookies["csrftoken"]}
    headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()), "Referer": url}
    answer = http.request(
        "POST", url, fields=fields, encode_multipart=False, headers=headers, redirect=False
    )  # fmt: skip
    assert answer.status == 302, answer.data[:2000]


@pytest.fixture
def editors(browser: Browser, services: Services, editor: Editor) -> Iterator[list[Editor]]:
    """Return the editors of two users."""
    sign_up(services)
    with browser.new_context(viewport={"width": 1400, "height": 800}) as context:
        context.set_default_timeout(WAIT_MS)
        second = Editor(context.new_page(), services.url, SECOND)
        second.log_in()
        yield [editor, second]


def shown_tasks(page: Page, tasks: list[int]) -> list[int]:
    """Return the ids of the tasks in the order in which the Data Manager shows them."""
    page.wait_for_function("document.querySelectorAll('.dm-table__row-wrapper, .lsf-table__row-wrapper').length > 1")
    texts = page.locator(".dm-table__row-wrapper, .lsf-table__row-wrapper").all_inner_texts()
    words = [text.split() for text in texts]
    return [int(word) for row in words for word in row[:1] if word.isdecimal() and int(word) in tasks]


def test_review_and_evaluation_from_the_page_for_two_users(editors: list[Editor], services: Services) -> None:
    project = create_project(services.api, "Review", CONFIG).id
    connect(services.api, project, services.backend_url, "label-studio-sam")
    sizes = [30, 45, 60, 15]  # rectangles that fit the disc badly or well
    value = {"x": 20, "y": 10, "height": 70, "rotation": 0, "rectanglelabels": ["person"]}
    box = {"id": "b", "type": "rectanglelabels", "from_name": "box", "to_name": "image", "original_width": 64}
    boxes = [{**box, "original_height": 48, "value": {**value, "width": width}} for width in sizes]
    body = [
        {"data": {"image": disc_image()}, "predictions": [{"result": [one], "model_version": "boxes"}]} for one in boxes
    ]
    services.api.call("POST", f"/api/projects/{project}/import", body)
    tasks = [task.id for task in tasks_of_project(services.api, project)]
    page = editors[0].page.context.new_page()
    page.goto(f"{services.backend_url}/")
    page.get_by_label("Project").select_option(str(project))
    page.get_by_label("Find objects with").select_option("boxes")
    page.get_by_role("button", name="Start").click()
    run = page.locator(".run", has_text="Review:")
    expect(run.locator(".badge")).to_have_text("finished", timeout=RUN_MS)

    before = scores(services, project)
    run.get_by_role("button", name="Review").click()
    link = run.get_by_role("link", name="Review: riskiest first")
    expect(link).to_be_visible()
    after = {task: score for task, score in scores(services, project).items() if score is not None}

    assert set(before.values()) == {None}  # the project shows the connected backend, whose version is another one
    assert after.keys() == set(tasks)
    assert len(set(after.values())) > 1, after
    expected = sorted(tasks, key=lambda task: after[task])
    assert expected != tasks
    for number, one in enumerate(editors):
        one.page.goto(str(link.get_attribute("href")))
        one.page.get_by_text("Review: riskiest first").first.wait_for()
        save_screenshot(one.page, f"review-{number}.png")
        assert shown_tasks(one.page, tasks) == expected

    for task in tasks[:2]:
        (prediction,) = [
            one
            for one in services.api.call("GET", "/api/predictions/", query={"task": task})
            if one["model_version"] != "boxes"
        ]
        services.api.call("POST", f"/api/tasks/{task}/annotations/", {"result": prediction["result"]})
    run.get_by_role("button", name="Evaluate").click()
    expect(run.locator(".result")).to_contain_text("2 reviewed tasks: 100.0 % of the regions accepted unchanged")
    expect(run.locator(".result")).to_contain_text("too few for certainty")
    save_screenshot(page, "evaluated.png")
    with page.context.expect_page() as opened:
        run.get_by_role("link", name="Report").click()
    expect(opened.value.get_by_role("heading", name="What became of the predictions")).to_be_visible()
    save_screenshot(opened.value, "report-on-page.png")

    run.get_by_role("button", name="Undo").click()
    run.get_by_role("button", name=re.compile("Remove 4 predictions")).click()
    expect(run.locator(".badge")).to_have_text("undone", timeout=RUN_MS)
    views = services.api.call("GET", "/api/dm/views/", query={"project": project})
    assert not [view for view in views if view["data"].get("title", "").startswith("Review")]
    assert services.api.call("GET", f"/api/projects/{project}/")["model_version"] == "label-studio-sam"


def scores(services: Services, project: int) -> dict[int, float | None]:
    """Return the Data Manager's column of prediction scores."""
    answer = services.api.call("GET", "/api/tasks/", query={"project": project, "fields": "all"})
    return {task["id"]: task["predictions_score"] for task in answer["tasks"]}
