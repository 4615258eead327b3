"""Evaluation, report, advice and review over HTTP."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.runs.ledger import WRITTEN
from sam_backend.runs.origin import RunOrigin
from sam_backend.runs.run_store import Run, RunStore
from sam_backend.settings import Settings
from sam_testing.fake_label_studio import TOKEN, Store, fake_label_studio
from sam_testing.planted_annotators import planted_project
from sam_testing.service import SamService


@dataclass
class Reviewed:
    """A run whose predictions were reviewed, and the service."""

    store: Store
    service: SamService
    run: Run

    def get(self, path: str) -> Any:
        return self.service.client.get(path).get_json()

    def evaluate(self) -> dict[str, Any]:
        path = f"/api/runs/{self.run.id}"
        assert self.service.client.post(f"{path}/evaluate", json={"calibrate": True}).status_code == 202
        end = time.monotonic() + 60
        while (state := self.get(f"{path}/evaluation"))["is_running"]:
            assert time.monotonic() < end
            time.sleep(0.02)
        found: dict[str, Any] = state
        return found


@pytest.fixture
def reviewed(tmp_path: Path) -> Iterator[Reviewed]:
    store = Store()
    with fake_label_studio(store) as url:
        run = RunStore(tmp_path).create(
            RunConfiguration(1), RunOrigin(url, 1, "2026-01-02T03:04:05.678901+00:00", "Fake")
        )
        planted = planted_project(store, 80, run_id=run.id)
        run.ledger.list_tasks(list(store.tasks), is_listed=True)
        run.ledger.set_run(version=planted.version)
        run.ledger.finish(WRITTEN, list(store.tasks))
        run.end("finished")
        settings = Settings(runs_dir=tmp_path, label_studio_url=url, label_studio_api_key=TOKEN)
        yield Reviewed(store, SamService(settings), run)


def test_a_run_is_evaluated_and_its_advice_is_offered(reviewed: Reviewed) -> None:
    before = reviewed.get("/api/projects/1/advice")
    assert reviewed.service.client.get(f"/api/runs/{reviewed.run.id}/report").status_code == 404

    state = reviewed.evaluate()

    assert (state["error"], state["has_calibration"], state["done"]) == ("", True, 85)
    assert state["evaluation"]["tasks"] == {"reviewed": 80, "unreviewed": 5}
    assert before == {"run": None, "label_thresholds": {}, "calibration": None}
    advice = reviewed.get("/api/projects/1/advice")
    assert (advice["run"], advice["calibration"]) == (reviewed.run.id, reviewed.run.id)
    report = reviewed.service.client.get(f"/api/runs/{reviewed.run.id}/report")
    assert report.mimetype == "text/html"
    assert "script" not in report.headers["Content-Security-Policy"]
    assert "<script" not in report.text
    assert report.text.count("<figure>") >= 20


def test_a_review_gives_the_address_of_its_tab_and_a_marked_sample(reviewed: Reviewed) -> None:
    answer = reviewed.service.client.post(f"/api/runs/{reviewed.run.id}/review", json={"audit": 0.1}).get_json()

    assert answer["url"].endswith(f"/projects/1/data?tab={answer['review']['view']}")
    sample = answer["review"]["audit_tasks"]
    assert len(sample) == 9  # of 85
    audit = reviewed.evaluate()["evaluation"]["audit"]
    assert audit["accepted_share"]["total"] == sum(
        len(reviewed.store.predictions[task][0]["result"]) for task in sample if reviewed.store.annotations.get(task)
    )


def test_wrong_requests_are_refused(reviewed: Reviewed) -> None:
    client = reviewed.service.client

    assert client.post(f"/api/runs/{reviewed.run.id}/review", json={"audit": 2}).status_code == 400
    assert client.post("/api/runs/unknown/evaluate", json={}).status_code == 404
    body = {"project": 1, "calibration": "../../etc/passwd"}
    assert client.post("/api/runs", json=body).status_code == 400


def test_a_label_studio_that_refuses_is_the_error_of_the_evaluation(reviewed: Reviewed) -> None:
    reviewed.store.is_allowed = False

    state = reviewed.evaluate()

    assert "could not read project 1" in state["error"]
    assert state["evaluation"] is None
