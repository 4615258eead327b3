"""Bulk runs against the real Label Studio: the command line, and Label Studio's own ways of asking for predictions."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.end_to_end.conftest import Services

from sam_backend.demo.user_actions import create_project, import_files, tasks_of_project
from sam_backend.label_studio.backend_registration import registrations
from sam_backend.service.import_debouncer import QUIET_S
from sam_testing.annotations import annotations_of_task

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(280)]

PHOTOS = [Path(f"examples/photos/{name}.jpg") for name in ("astronaut", "coins", "flower")]
PALETTE = Path("examples/labeling_configs/labels_palette.xml").read_text()
FACES = {"detector": "classical", "label_map": {"face": "Person"}}


def run_command(services: Services, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    settings = {"LABEL_STUDIO_URL": services.url, "LABEL_STUDIO_API_KEY": services.token, "SAM_RUNS_DIR": str(folder)}
    return subprocess.run(
        [sys.executable, "-m", "sam_backend.commands.main", *arguments],
        env=os.environ | settings | {"SAM_MODEL": "classical"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def new_project(services: Services, title: str, extra_params: dict[str, Any] | None = None) -> tuple[int, list[int]]:
    """Create a project with three photographs; connect the backend if there are extra parameters."""
    project = create_project(services.api, title, PALETTE).id
    import_files(services.api, project, PHOTOS)
    if extra_params is not None:
        body = {"project": project, "url": services.backend_url, "title": "sam", "extra_params": extra_params}
        services.api.call("POST", "/api/ml/", body)
    return project, [task.id for task in tasks_of_project(services.api, project)]


def predictions(services: Services, task: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = services.api.call("GET", "/api/predictions/", query={"task": task})
    return found


def wait_for(happens: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.5)


def test_the_command_line_predicts_skips_and_undoes_and_leaves_everything_else(
    services: Services, tmp_path: Path
) -> None:
    project, tasks = new_project(services, "Command line")
    foreign = {"task": tasks[0], "result": [], "score": 0.5, "model_version": "somebody else"}
    services.api.call("POST", f"/api/projects/{project}/import/predictions", [foreign])
    services.api.call("POST", f"/api/tasks/{tasks[1]}/annotations/", {"result": []})
    asked = ["preannotate", "--project", str(project), "--map", "face=Person"]

    first = run_command(services, tmp_path, *asked)
    again = run_command(services, tmp_path, *asked, "--json")

    assert first.returncode == 0, first.stderr
    assert "3 written" in first.stdout
    counts = json.loads(again.stdout)["run"]["counts"]
    assert (counts["written"], counts["skipped"]) == (0, 3)
    ours = [[one for one in predictions(services, task) if one["model_version"] != "somebody else"] for task in tasks]
    assert [len(found) for found in ours] == [1, 1, 1]
    labels = {label for region in ours[0][0]["result"] for label in region["value"].get("labels", [])}
    assert labels == {"Person"}

    run_id = json.loads(run_command(services, tmp_path, "runs", "list", "--json").stdout)["runs"][1]["id"]
    undone = run_command(services, tmp_path, "runs", "undo", run_id)

    assert undone.returncode == 0, undone.stderr
    assert "3 predictions removed" in undone.stdout
    assert [len(predictions(services, task)) for task in tasks] == [1, 0, 0]
    assert len(annotations_of_task(services.api, tasks[1])) == 1


def test_start_training_starts_the_run_that_the_extra_parameters_describe(services: Services) -> None:
    project, tasks = new_project(services, "Start training", FACES)
    (backend,) = registrations(services.api, project)

    services.api.call("POST", f"/api/ml/{backend.id}/train", {})

    wait_for(lambda: all(len(predictions(services, task)) == 1 for task in tasks))
    assert any(region["type"] == "brush" for region in predictions(services, tasks[0])[0]["result"])


def test_retrieve_predictions_gives_each_task_one_and_no_second_one(services: Services) -> None:
    project, tasks = new_project(services, "Retrieve", FACES)
    (backend,) = registrations(services.api, project)
    ask = f"/api/dm/actions/?id=retrieve_tasks_predictions&project={project}"

    for _ in range(2):
        services.api.call("POST", ask, {"selectedItems": {"all": True, "excluded": []}})

    found = [predictions(services, task) for task in tasks]
    assert [len(each) for each in found] == [1, 1, 1]
    assert {one["model_version"] for each in found for one in each} == {
        services.api.call("GET", f"/api/ml/{backend.id}")["model_version"]
    }


def test_an_import_starts_nothing_unless_it_is_wanted(services: Services) -> None:
    project, _ = new_project(services, "Import", FACES)

    import_files(services.api, project, PHOTOS[:1])
    time.sleep(2 * QUIET_S)  # a run that was wanted would have started

    assert all(predictions(services, task.id) == [] for task in tasks_of_project(services.api, project))
