import json

import pytest

from fuzz.mutations import mutated
from sam_backend.errors import BadRequestError
from sam_backend.protocol.requests import (
    PredictRequest,
    SetupRequest,
    WebhookEvent,
    labeling_config_from_json,
)
from sam_testing.label_studio import key_point, predict_request, setup_request


def body_of(value: object) -> bytes:
    return json.dumps(value).encode()


def test_a_click_is_parsed_with_its_task_and_project() -> None:
    request = PredictRequest.from_json(body_of(predict_request([key_point(10, 20)])))

    (task,) = request.tasks
    assert (task.id, task.project_id, task.data) == (1, 1, {"image": "/data/upload/1/image.png"})
    assert request.context is not None
    assert len(request.context) == 1


def test_an_opened_task_has_no_context_and_an_empty_context_is_one() -> None:
    opened = PredictRequest.from_json(body_of(predict_request(None)))
    emptied = PredictRequest.from_json(body_of(predict_request([])))

    assert opened.context is None
    assert emptied.context == ()


def test_params_may_be_missing_and_the_context_beside_them() -> None:
    body = predict_request([key_point(10, 20)])
    body["context"] = body.pop("params")["context"]

    request = PredictRequest.from_json(body_of(body))

    assert request.context is not None
    assert len(request.context) == 1


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"tasks": None}, "tasks must be a JSON array, not None"),
        ({"tasks": ["x"]}, r"tasks\[0\] must be a JSON object, not 'x'"),
        ({"tasks": [{"id": "1", "data": {}}]}, r"tasks\[0\]\.id='1'"),
        ({"tasks": [{"id": 1}]}, r"tasks\[0\]\.data is missing"),
        ({"label_config": None}, "label_config must be a string"),
        ({"params": []}, None),
        ({"params": [1]}, "params must be a JSON object"),
        ({"params": {"context": 3}}, r"params\.context must be a JSON object, not 3"),
        ({"params": {"context": {"result": 3}}}, r"params\.context\.result must be a JSON array, not 3"),
        ({"params": {"login": 3}}, r"params\.login must be a string, not 3"),
    ],
)
def test_what_label_studio_never_sends_is_refused_by_name_and_value(change: dict, complaint: str | None) -> None:
    body = {**predict_request(None), **change}

    if complaint is None:
        assert PredictRequest.from_json(body_of(body)).context is None
        return
    with pytest.raises(BadRequestError, match=complaint):
        PredictRequest.from_json(body_of(body))


@pytest.mark.parametrize("project", [None, "", "x", 7, "9" * 5000, "1"])
def test_an_odd_project_number_is_no_reason_to_refuse_a_click(project: object) -> None:
    request = PredictRequest.from_json(body_of({**predict_request(None), "project": project}))

    assert request.tasks[0].project_id == {7: 7, "1": 1}.get(project)  # type: ignore[call-overload]


def test_setup_tells_who_and_where() -> None:
    request = SetupRequest.from_json(body_of(setup_request()))

    assert (request.project, request.hostname) == ("1.1795346939", "http://localhost:8080")
    assert request.access_token == "not-a-real-token"


def test_setup_with_nulls_is_understood() -> None:
    assert SetupRequest.from_json(body_of({"project": None, "schema": None, "hostname": None})) == SetupRequest(
        "", "", "", ""
    )


def test_a_webhook_has_an_action() -> None:
    event = WebhookEvent.from_json(body_of({"action": "START_TRAINING", "project": {"id": 7}}))
    assert (event.action, event.project_id) == ("START_TRAINING", 7)
    with pytest.raises(BadRequestError, match="action is missing"):
        WebhookEvent.from_json(body_of({}))


@pytest.mark.parametrize("name", ["config", "label_config", "schema"])
def test_a_config_to_validate_is_found_under_its_names(name: str) -> None:
    assert labeling_config_from_json(body_of({name: "<View/>"})) == "<View/>"


def test_a_mutated_body_is_parsed_or_refused() -> None:
    parsers = {
        "/predict": PredictRequest.from_json,
        "/setup": SetupRequest.from_json,
        "/webhook": WebhookEvent.from_json,
    }
    parsed = refused = 0

    for number in range(3000):
        request = mutated(20261126, number)
        if request.path not in parsers:
            continue
        try:
            parsers[request.path](request.body)
            parsed += 1
        except BadRequestError:
            refused += 1

    assert parsed > 100
    assert refused > 100
