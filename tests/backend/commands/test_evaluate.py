"""`evaluate`, `runs review` and calibrated runs on the command line, with annotators whose behaviour is known."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam_backend.commands.main import main
from sam_backend.preannotation.calibration import load_calibration
from sam_backend.runs.run_store import RunStore
from sam_testing.fake_label_studio import TOKEN, Store, fake_label_studio
from sam_testing.planted_annotators import planted_project, region

BOXES = ["preannotate", "--project", "1", "--detector", "boxes"]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    store = Store()
    with fake_label_studio(store) as url:
        settings = {
            "LABEL_STUDIO_URL": url,
            "LABEL_STUDIO_API_KEY": TOKEN,
            "SAM_MODEL": "classical",
            "SAM_OFFLINE": "1",
            "SAM_RUNS_DIR": str(tmp_path / "runs"),
        }
        for variable, value in settings.items():
            monkeypatch.setenv(variable, value)
        yield store


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """Run a command with --json and return its result."""
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_numbers_are_those_that_were_planted(
    store: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    planted = planted_project(store, tasks=60)

    found = answer(
        capsys, "evaluate", "--project", "1", "--model-version", planted.version, "--out", str(tmp_path / "r.html")
    )

    assert found["tasks"] == {"reviewed": 60, "unreviewed": 5}
    assert {name: found["all"][name] for name in planted.outcomes} == planted.outcomes
    assert found["all"]["corrected_iou"] == pytest.approx(planted.corrected_iou, abs=1e-4)
    for report in found["labels"]:
        assert {name: report[name] for name in planted.by_label[report["label"]]} == planted.by_label[report["label"]]
    html = (tmp_path / "r.html").read_text()
    assert "http-equiv" not in html
    assert "<script" not in html
    assert html.count("data:image/jpeg;base64,") == 20
    assert 'href="http://127.0.0.1' in html
    assert 'src="http' not in html


def test_a_calibration_is_used_by_runs_that_ask_for_it(
    store: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    add_tasks_with_boxes(store, 50)
    first = answer(capsys, *BOXES)["run"]["id"]
    for task, (prediction,) in store.predictions.items():
        is_good = task % 2 == 0
        mask = np.zeros((48, 64), bool)
        mask[10:30, 10:40] = True
        (known,) = prediction["result"]  # the fake keeps ids only
        prediction["result"] = [region(mask, "person", known["id"], score=0.9 if is_good else 0.7)]
        final = region(mask, "person", "r") if is_good else region(~mask, "person", "r")
        store.annotations[task] = [{"id": task, "result": [final], "was_cancelled": False}]

    found = answer(capsys, "evaluate", "--project", "1", "--calibrate")
    assert (found["run"], found["calibration"]) == (first, {"run": first, "labels": ["person"]})
    assert found["all"]["precision"]["value"] == 0.5
    calibration = load_calibration(tmp_path / "runs" / f"{first}.calibration.json")
    assert calibration.probability("person", 0.9) > 0.9
    assert calibration.probability("person", 0.7) < 0.1

    for task in store.tasks:
        store.annotations[task] = [{"id": task, "result": [rectangle()], "was_cancelled": False}]
    second = answer(capsys, *BOXES, "--calibration", first)["run"]
    assert second["counts"]["written"] == 50  # another model version: no task is skipped
    for own, calibrated in store.predictions.values():
        assert calibrated["score"] == pytest.approx(calibration.probability("person", own["score"]), abs=1e-3)
    assert main(["evaluate", "--project", "1", "--run", second["id"], "--calibrate"]) == 2
    assert f"the scores of run {second['id']} are calibrated by run {first}" in capsys.readouterr().err


def test_a_missing_calibration_ends_the_run_with_the_reason(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    store.add_tasks(1)

    assert main([*BOXES, "--calibration", "261124-000000"]) == 1

    assert "there is no calibration 261124-000000" in "".join(capsys.readouterr())


def add_tasks_with_boxes(store: Store, number: int) -> None:
    for task in store.add_tasks(number):
        store.annotations[task] = [{"id": task, "result": [rectangle()], "was_cancelled": False}]


def rectangle() -> dict[str, Any]:
    value = {"x": 25, "y": 20, "width": 50, "height": 60, "rotation": 0, "rectanglelabels": ["person"]}
    sizes = {"original_width": 64, "original_height": 48}
    return {"id": "b", "type": "rectanglelabels", "from_name": "box", "to_name": "image", "value": value, **sizes}


def test_review_makes_one_tab_and_undo_removes_it(
    store: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    add_tasks_with_boxes(store, 8)
    store.model_version = "chosen by a person"
    run_id = answer(capsys, *BOXES)["run"]["id"]
    assert store.model_version == "chosen by a person"

    first = answer(capsys, "runs", "review", run_id, "--audit", "25%")
    again = answer(capsys, "runs", "review", run_id, "--audit", "25%")

    assert again == first
    assert len(store.views) == 2
    view = store.views[first["review"]["view"]]["data"]
    assert view["title"] == "Review: riskiest first"
    assert view["ordering"] == ["tasks:predictions_score"]
    assert view["filters"]["items"] == [
        {"filter": "filter:tasks:total_annotations", "operator": "equal", "type": "Number", "value": 0}
    ]
    assert "tasks:predictions_score" not in view["hiddenColumns"]["explore"]
    assert len(first["review"]["audit_tasks"]) == 2
    run = RunStore(tmp_path / "runs").get(run_id)
    assert store.model_version == str(run.ledger.run()["version"])

    assert main(["runs", "undo", run_id]) == 0
    assert store.views == {}
    assert store.model_version == "chosen by a person"


def test_a_run_fills_the_score_column_of_a_project_without_a_chosen_version(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """Label Studio averages only predictions whose version is the project's."""
    add_tasks_with_boxes(store, 2)

    run = answer(capsys, *BOXES)["run"]

    assert store.model_version == run["model_version"]
    assert main(["runs", "undo", run["id"]]) == 0
    assert store.model_version == ""


def test_the_review_of_a_newer_run_survives_the_undo_of_an_older_one(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    add_tasks_with_boxes(store, 4)
    older = answer(capsys, *BOXES)["run"]["id"]
    answer(capsys, "runs", "review", older, "--audit", "25%")
    newer = answer(capsys, *BOXES, "--policy", "add", "--label-threshold", "person=0.1")["run"]["id"]
    review = answer(capsys, "runs", "review", newer, "--audit", "50%")["review"]

    assert main(["runs", "undo", older]) == 0

    assert set(store.views) == {review["view"], review["audit_view"]}
    conditions = store.views[review["audit_view"]]["data"]["filters"]
    assert conditions["conjunction"] == "or"
    assert [each["value"] for each in conditions["items"]] == review["audit_tasks"]
