"""The list of the last clicks: what each one asked for, its stages, and why it got nothing."""

import logging

import pytest

from sam_backend.interactive.click_log import MAX_CLICKS, MAX_REASON_LENGTH, ClickLog, log_missing_mask, note_reason
from sam_backend.settings import Settings
from sam_testing.label_studio import key_point, predict_request, rectangle, setup_request
from sam_testing.service import SamService


def clicks_of(service: SamService) -> list[dict]:
    answer: list[dict] = service.client.get("/api/clicks").get_json()["clicks"]
    return answer


def test_a_click_is_listed_with_its_prompts_stages_and_result() -> None:
    service = SamService()

    service.predict(predict_request([key_point(50, 50), key_point(60, 50, "p2", is_positive=False)], task_id=7))

    (click,) = clicks_of(service)
    assert (click["project"], click["tasks"], click["prompts"]) == (1, [7], "2 points (1 negative)")
    assert (click["result"], click["reason"]) == ("1 region", "")
    stages = click["milliseconds"]
    assert stages.keys() >= {"parse", "fetch", "decode", "embed", "segment", "encode", "total"}
    assert stages["total"] >= stages["embed"] + stages["segment"]


@pytest.mark.parametrize(
    ("request_body", "reason"),
    [
        (predict_request([key_point(50, 50, is_positive=False)]), "task 1: 1 prompt(s), none positive"),
        (predict_request([rectangle(120, 10, 5, 5)]), "none positive"),
        (predict_request([]), "no key point, no rectangle and no words"),
        (predict_request([key_point(50, 50)], data={"image": "/data/upload/1/gone.png"}), "no image at"),
        (predict_request([{**key_point(50, 50), "type": "polygonlabels"}]), "no key point, no rectangle and no words"),
        (predict_request([key_point("x", 50)]), "x must be a number"),
    ],
    ids=["negative only", "no area", "no prompts", "no image", "unknown prompt", "malformed"],
)
def test_a_click_without_a_mask_is_listed_with_the_reason(request_body: dict, reason: str) -> None:
    service = SamService()

    service.client.post("/predict", json=request_body)

    (click,) = clicks_of(service)
    assert reason in click["reason"]


def test_an_unexpected_error_is_listed_without_its_text() -> None:
    service = SamService()
    service.segmenter.segment = None  # type: ignore[assignment,method-assign]

    service.client.post("/predict", json=predict_request([key_point(50, 50)]))

    (click,) = clicks_of(service)
    assert click["reason"] == "internal error: see the backend's log"


def test_a_refused_batch_is_listed(caplog: pytest.LogCaptureFixture) -> None:
    service = SamService()
    service.client.post("/setup", json=setup_request())
    task = predict_request(None)["tasks"][0]

    service.client.post("/predict", json=predict_request(tasks=[task, {**task, "id": 2}]))
    service.client.post("/predict", json=predict_request(tasks=[task, {**task, "id": 2}]))

    listed = clicks_of(service)
    runs = service.client.get("/api/runs").get_json()["runs"]
    assert [click["tasks"] for click in listed] == [[1, 2], [1, 2]]
    assert "project 1 has 2 labels (Cat, Dog) and no detector" in listed[0]["reason"]
    assert [run["message"] for run in runs] == [listed[0]["reason"]], "once, however often the button is pressed"
    assert listed[0]["reason"] in caplog.text


def test_the_list_is_bounded_and_its_reasons_hold_no_secret() -> None:
    log = ClickLog()
    for number in range(MAX_CLICKS + 5):
        with log.recording() as click:
            click.project = number
            note_reason("https://user:secret@host/a\n" + 10_000 * "x")

    newest = log.newest_first()
    assert [click.project for click in newest] == list(range(MAX_CLICKS + 4, 4, -1))
    assert "secret" not in newest[0].reason
    assert "\n" not in newest[0].reason
    assert len(newest[0].reason) <= MAX_REASON_LENGTH + 3


def test_a_reason_is_logged_also_outside_of_a_request(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        log_missing_mask("task 3", "empty mask")

    assert "task 3: empty mask: no mask returned" in caplog.text


def test_the_list_is_behind_the_api_token() -> None:
    service = SamService(Settings(api_token="secret"))

    assert service.client.get("/api/clicks").status_code == 401
    assert service.client.get("/api/clicks", headers={"Authorization": "Bearer secret"}).status_code == 200


def test_the_last_opened_task_of_a_project_without_pre_annotation_is_listed_since_retrieving_one_looks_equal() -> None:
    service = SamService()
    service.client.post("/setup", json=setup_request())

    for task in (1, 2):
        service.client.post("/predict", json=predict_request(None, task_id=task))
    service.predict(predict_request([key_point(50, 50)], task_id=3))
    service.client.post("/predict", json=predict_request(None, task_id=4))

    assert [click["tasks"] for click in clicks_of(service)] == [[4], [3]]
    assert "is the only task of Retrieve Predictions" in clicks_of(service)[0]["reason"]
