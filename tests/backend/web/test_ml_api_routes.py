import base64
import re
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sam_backend.images.fetch import FetchLimits, ImageFetcher
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.logs import LogFormatter
from sam_backend.preannotation.configuration import describe_opened_tasks
from sam_backend.request_ids import current_request_id
from sam_backend.settings import Settings
from sam_backend.shapes.brush_rle import decode_mask
from sam_model.types import Prompt, ScoredMask
from sam_model.weights.errors import WeightsUnavailableError
from sam_testing.disc_segmenter import RADIUS, DiscSegmenter
from sam_testing.label_studio import (
    BRUSH_CONFIG,
    PAGES_CONFIG,
    PALETTE_CONFIG,
    key_point,
    predict_request,
    rectangle,
    setup_request,
    with_palette,
)
from sam_testing.service import SamService, png_image


@pytest.fixture
def service() -> SamService:
    return SamService()


def mask_of(region: dict) -> np.ndarray:
    return decode_mask(region["value"]["rle"], region["original_height"], region["original_width"])


def disc(x: float, y: float, height: int = 20, width: int = 40) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width] + 0.5
    return np.hypot(columns - x, rows - y) <= RADIUS


def test_a_click_becomes_a_brush_region_with_the_prompts_label(service: SamService) -> None:
    prediction = service.predict(predict_request([key_point(50, 25, label="Dog")]))

    (region,) = prediction["result"]
    assert region["type"] == "brushlabels"
    assert (region["from_name"], region["to_name"]) == ("brush", "image")
    assert region["value"]["brushlabels"] == ["Dog"]
    assert region["value"]["format"] == "rle"
    assert (region["original_width"], region["original_height"], region["image_rotation"]) == (40, 20, 0)
    assert np.array_equal(mask_of(region), disc(20, 5))
    assert prediction["score"] == region["score"] == 0.87
    assert prediction["model_version"] == "disc-1"


def test_a_negative_click_takes_away(service: SamService) -> None:
    points = [key_point(50, 50, "a"), key_point(60, 50, "b", is_positive=False)]

    (region,) = service.predict(predict_request(points))["result"]

    assert np.array_equal(mask_of(region), disc(20, 10) & ~disc(24, 10))


def test_negative_points_alone_give_a_prediction_without_regions(service: SamService) -> None:
    prediction = service.predict(predict_request([key_point(50, 50, is_positive=False)]))

    assert prediction == {"result": [], "score": 0.0, "model_version": "disc-1"}


def test_an_empty_context_gives_a_prediction_without_regions(service: SamService) -> None:
    prediction = service.predict(predict_request([]))

    assert prediction == {"result": [], "score": 0.0, "model_version": "disc-1"}


def test_with_a_palette_a_mask_is_two_results_with_one_id(service: SamService) -> None:
    context = with_palette(key_point(50, 25, "a")) + with_palette(key_point(75, 25, "b"))

    brush, labels = service.predict(predict_request(context, PALETTE_CONFIG))["result"]

    assert brush["id"] == labels["id"]
    assert (brush["type"], brush["from_name"]) == ("brush", "brush")
    assert (labels["type"], labels["from_name"]) == ("labels", "lab")
    assert "labels" not in brush["value"]
    assert labels["value"]["labels"] == ["Dog"]
    assert brush["value"]["rle"] == labels["value"]["rle"]
    assert len(service.segmenter.prompts[-1].points) == 2


@pytest.mark.parametrize("tag", ["Bitmask", "Polygon", "Rectangle", "Ellipse", "Vector"])
def test_a_click_is_answered_in_the_shape_of_the_config(service: SamService, tag: str) -> None:
    config = BRUSH_CONFIG.replace("BrushLabels", f"{tag}Labels").replace('name="brush"', 'name="out"')

    (region,) = service.predict(predict_request([key_point(50, 50)], config))["result"]

    kind = f"{tag}Labels".lower()
    assert (region["type"], region["from_name"]) == (kind, "out")
    assert region["value"][kind] == ["Cat"]


class BarSegmenter(DiscSegmenter):
    """Answers each prompt with a bar from the upper left to the lower right."""

    def segment(self, embedding: Any, prompts: Sequence[Prompt]) -> list[ScoredMask]:
        y, x = np.mgrid[0 : embedding.image_size[0], 0 : embedding.image_size[1]]
        return [ScoredMask(np.abs(x - 10 - y) < 4, 0.9) for _ in prompts]


def test_a_rotated_rectangle_is_answered_with_a_rotated_one_where_rectangles_are_labels() -> None:
    service = SamService(segmenter=BarSegmenter())
    labels = '<Label value="Cat"/>'
    rectangles = f'<RectangleLabels name="out" toName="image" smart="false">{labels}</RectangleLabels></View>'
    config = BRUSH_CONFIG.replace("BrushLabels", "TextArea").replace("</View>", rectangles)

    (upright,) = service.predict(predict_request([rectangle(30, 0, 40, 90)], config))["result"]
    (rotated,) = service.predict(predict_request([rectangle(30, 0, 40, 90, rotation=30)], config))["result"]

    assert upright["value"]["rotation"] == 0
    assert rotated["value"]["rotation"] == pytest.approx(45, abs=1)
    assert (upright["from_name"], rotated["from_name"]) == ("out", "out")


def test_extra_parameters_select_the_shape_and_the_candidates_of_clicks(service: SamService) -> None:
    polygons = '<PolygonLabels name="outline" toName="image"><Label value="Cat"/></PolygonLabels></View>'
    config = BRUSH_CONFIG.replace("</View>", polygons)
    extra_params = {"sam_output": "polygon", "candidates": 2}
    one, two = key_point(50, 50, "a"), key_point(60, 50, "b")

    before = service.predict(predict_request([one], config))["result"]
    setup = service.client.post("/setup", json={**setup_request(config), "extra_params": extra_params})
    ambiguous = service.predict(predict_request([one], config))["result"]
    clear = service.predict(predict_request([one, two], config))["result"]
    opened = service.client.post("/predict", json=predict_request(None, config)).get_json()["results"]

    assert [region["type"] for region in before] == ["brushlabels"]
    assert setup.get_json() == {"model_version": "disc-1"}
    assert [region["type"] for region in ambiguous] == ["polygonlabels"] * 2
    assert len({region["id"] for region in ambiguous}) == 2
    texts = [f"candidate {number} of 2, score {service.segmenter.score:.2f}" for number in (1, 2)]
    assert [region["meta"]["text"] for region in ambiguous] == [[text] for text in texts]
    assert len(clear) == 1
    assert "meta" not in clear[0]
    assert opened == [[]]  # options of clicks switch on no pre-annotation


def test_each_positive_point_is_an_object_of_its_own_where_the_settings_say_so() -> None:
    service = SamService(Settings(each_point_an_object=True))
    points = [key_point(25, 50, "a"), key_point(75, 50, "b"), key_point(80, 50, "c", is_positive=False)]

    first, second = service.predict(predict_request(points))["result"]

    assert np.array_equal(mask_of(first), disc(10, 10))
    assert np.array_equal(mask_of(second), disc(30, 10) & ~disc(32, 10))
    assert first["id"] != second["id"]


@pytest.mark.parametrize(
    ("extra_params", "complaint"),
    [
        ({"sam_output": "hexagon"}, "sam_output='hexagon' is not one of brush, bitmask, polygon"),
        ({"sam_output": "ellipse"}, "sam_output='ellipse': the labeling config has no <EllipseLabels>"),
        ({"candidates": 4}, "candidates=4 is not between 1 and 3"),
        ({"each_point_an_object": "yes"}, "each_point_an_object='yes' is neither true nor false"),
        ({"candidats": 3}, "unknown field 'candidats'; known: calibration, candidates, "),
    ],
)
def test_wrong_options_of_clicks_are_named_at_setup(service: SamService, extra_params: dict, complaint: str) -> None:
    service.client.post("/setup", json={**setup_request(), "extra_params": extra_params})

    problems = [check.problem for check in service.parts.health_monitor.checks() if check.name == "Extra parameters"]
    assert len(problems) == 1
    assert complaint in problems[0]


def test_setup_describes_what_clicks_get(service: SamService) -> None:
    service.client.post("/setup", json={**setup_request(), "extra_params": {"candidates": 2}})

    assert service.parts.projects.clicks(1) == f"brush, 2 candidates; {describe_opened_tasks(None)}"


def test_two_rectangles_are_two_masks_in_one_answer(service: SamService) -> None:
    context = [rectangle(0, 0, 25, 50, "a"), rectangle(50, 50, 50, 50, "b")]

    first, second = service.predict(predict_request(context))["result"]

    assert first["id"] != second["id"]
    assert np.argwhere(mask_of(first)).max(axis=0).tolist() == [9, 9]
    assert np.argwhere(mask_of(second)).min(axis=0).tolist() == [10, 20]


def test_every_page_of_the_context_is_answered_with_its_own_picture(service: SamService) -> None:
    service.fake_fetcher.images["/b.png"] = png_image(width=30, height=60)
    data = {"images": ["/data/upload/1/image.png", "/b.png"]}
    second_page = {"original_width": 30, "original_height": 60, "item_index": 1}
    context = [key_point(50, 50, "a", item_index=0), key_point(50, 50, "b", **second_page)]

    first, second = service.predict(predict_request(context, PAGES_CONFIG, data))["result"]

    assert (first["item_index"], second["item_index"]) == (0, 1)
    assert np.array_equal(mask_of(first), disc(20, 10))
    assert np.array_equal(mask_of(second), disc(15, 30, height=60, width=30))


def test_the_mask_has_the_browsers_size_even_where_the_file_has_another(service: SamService) -> None:
    context = [rectangle(50, 0, 50, 50, original_width=80, original_height=60)]

    (region,) = service.predict(predict_request(context))["result"]

    assert (region["original_width"], region["original_height"]) == (80, 60)
    assert np.argwhere(mask_of(region)).min(axis=0).tolist() == [0, 40]
    assert np.argwhere(mask_of(region)).max(axis=0).tolist() == [29, 79]


def test_without_an_original_size_the_pictures_own_is_taken(service: SamService) -> None:
    context = [key_point(50, 50, original_width=None, original_height=None)]

    (region,) = service.predict(predict_request(context))["result"]

    assert (region["original_width"], region["original_height"]) == (40, 20)


def test_the_same_request_gives_the_same_answer(service: SamService) -> None:
    request = predict_request([key_point(50, 50)])

    assert service.predict(request) == service.predict(request) == SamService().predict(request)


@pytest.mark.parametrize(
    "other",
    [
        predict_request([key_point(50, 50, "p2")]),
        predict_request([key_point(51, 50)]),
        predict_request([key_point(50, 50), key_point(60, 50, "p2")]),
        predict_request([key_point(50, 50, label="Dog")]),
        predict_request([key_point(50, 50)], task_id=2),
    ],
    ids=["another prompt", "dragged", "one more", "another label", "another task"],
)
def test_another_object_gets_another_id(service: SamService, other: dict) -> None:
    (region,) = service.predict(predict_request([key_point(50, 50)]))["result"]
    (other_region,) = service.predict(other)["result"]

    assert region["id"] != other_region["id"]


@pytest.mark.parametrize(("predicted", "sent"), [(1.03, 1.0), (-0.1, 0.0), (float("nan"), 0.0), (0.5, 0.5)])
def test_scores_are_numbers_from_0_to_1(predicted: float, sent: float) -> None:
    service = SamService(segmenter=DiscSegmenter(score=predicted))

    prediction = service.predict(predict_request([key_point(50, 50)]))

    assert prediction["score"] == prediction["result"][0]["score"] == sent


def test_a_mask_without_a_pixel_is_no_region(service: SamService, caplog: pytest.LogCaptureFixture) -> None:
    points = [key_point(50, 50, "a"), key_point(50, 50, "b", is_positive=False)]

    assert service.predict(predict_request(points))["result"] == []
    assert "no mask returned" in caplog.text


def test_a_second_click_fetches_and_embeds_nothing(service: SamService) -> None:
    service.predict(predict_request([key_point(50, 50)]))
    service.predict(predict_request([key_point(50, 50), key_point(60, 50, "p2")]))

    assert service.fake_fetcher.asked == ["/data/upload/1/image.png"]
    assert len(service.segmenter.images) == 1


def test_a_second_click_on_an_object_takes_the_logits_of_the_first_along(service: SamService) -> None:
    service.predict(predict_request([key_point(50, 50)]))
    service.predict(predict_request([key_point(50, 50), key_point(60, 50, "p2")]))

    first, second = (prompt.mask_input for prompt in service.segmenter.prompts)
    assert first is None
    assert second is not None
    assert second[0, 0] == 1  # the test segmenter's logits hold the number of points


def test_opening_a_task_answers_at_once_stores_nothing_and_embeds_in_the_background(service: SamService) -> None:
    service.segmenter.go_on.clear()

    began = time.perf_counter()
    response = service.client.post("/predict", json=predict_request(None))
    answered_s = time.perf_counter() - began
    while not service.segmenter.images:
        time.sleep(0.001)
    service.segmenter.go_on.set()

    assert response.get_json() == {"results": [[]]}
    assert answered_s < 5  # embed waits for us: an answer that waited for it would take 30
    assert service.predict(predict_request([key_point(50, 50)]))["result"]
    assert len(service.segmenter.images) == 1


def test_a_batch_gets_one_empty_item_a_task(service: SamService) -> None:
    tasks = [{"id": i, "data": {"image": f"/{i}.png"}} for i in range(5)]

    response = service.client.post("/predict", json=predict_request(None, tasks=tasks))

    assert response.get_json() == {"results": [[], [], [], [], []]}


def test_prefetching_can_be_switched_off() -> None:
    service = SamService(Settings(prefetch=False))

    service.client.post("/predict", json=predict_request(None))
    service.predict(predict_request([key_point(50, 50)]))

    assert service.fake_fetcher.asked == ["/data/upload/1/image.png"]


def test_health_and_setup_answer_while_the_model_is_busy(service: SamService) -> None:
    service.segmenter.go_on.clear()
    click = threading.Thread(target=service.predict, args=[predict_request([key_point(50, 50)])])
    click.start()
    while not service.segmenter.images:
        time.sleep(0.001)

    health = service.client.get("/health").get_json()
    setup = service.client.post("/setup", json=setup_request()).get_json()
    still_busy = click.is_alive()
    service.segmenter.go_on.set()
    click.join(timeout=10)

    assert still_busy
    assert health["status"] == "UP"
    assert setup == {"model_version": "disc-1"}


def test_setup_teaches_where_label_studio_is(service: SamService) -> None:
    service.client.post("/setup", json=setup_request())

    assert service.parts.credentials.url == "http://localhost:8080"


def test_a_project_with_a_broken_config_can_still_be_connected(service: SamService) -> None:
    response = service.client.post("/setup", json=setup_request("<View"))

    assert response.get_json() == {"model_version": "disc-1"}


def test_versions_names_the_one_there_is(service: SamService) -> None:
    assert service.client.get("/versions").get_json() == {"versions": ["disc-1"]}


def wait_until_ready(service: SamService, *, ready: bool = True) -> dict:
    end = time.monotonic() + 30
    while (answer := service.client.get("/ready")).status_code != (200 if ready else 503):
        assert time.monotonic() < end, answer.text
        time.sleep(0.01)
    found: dict = answer.get_json()
    return found


def test_ready_tells_whether_a_click_would_be_answered(service: SamService) -> None:
    before = service.client.get("/ready")
    service.model.segmenter(wait_s=10)

    assert before.status_code == 503
    assert before.get_json()["problems"] == ["Model: loading"]
    assert wait_until_ready(service) == {"ready": True, "problems": [], "state": "ready", "problem": None}
    assert [image.shape for image in service.segmenter.images] == [(48, 64, 3)]


def test_a_model_that_cannot_answer_a_prompt_is_not_ready(service: SamService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.segmenter, "segment", lambda *_: 1 / 0)
    service.model.segmenter(wait_s=10)

    def problems() -> list[str]:
        return service.client.get("/ready").get_json()["problems"]

    end = time.monotonic() + 30
    while problems() == ["Model: the self-test is running"]:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert problems() == ["Model: the self-test failed: ZeroDivisionError: division by zero"]


def test_a_label_studio_of_the_settings_that_does_not_answer_is_not_ready() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # nothing listens there
        service = SamService(Settings(label_studio_url=f"http://127.0.0.1:{unused.getsockname()[1]}"))
        service.model.segmenter(wait_s=10)

        end = time.monotonic() + 30
        while "Label Studio: " not in " ".join(service.client.get("/ready").get_json()["problems"]):
            assert time.monotonic() < end
            time.sleep(0.01)
        assert service.client.get("/ready").status_code == 503


def test_metrics_count_what_a_click_does(service: SamService) -> None:
    def value(name: str, /, **labels: str) -> float:
        text = service.client.get("/metrics").text
        found = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        return found.get((name, tuple(sorted(labels.items()))), 0.0)

    stages = ("parse", "fetch", "decode", "embed", "segment", "encode", "total")
    before = {stage: value("sam_stage_seconds_count", stage=stage) for stage in stages}
    wrong = value("sam_errors_total", kind="UnsupportedRegionError")
    answered = value("sam_requests_total", route="/predict", status="200")

    service.predict(predict_request([key_point(50, 50)]))
    service.predict(predict_request([key_point(60, 50)]))
    service.client.post("/predict", json=predict_request([key_point(1e9, 50)]))

    grown = {stage: value("sam_stage_seconds_count", stage=stage) - before[stage] for stage in stages}
    assert grown == {"parse": 3, "fetch": 1, "decode": 1, "embed": 1, "segment": 2, "encode": 2, "total": 3}
    assert value("sam_errors_total", kind="UnsupportedRegionError") == wrong + 1
    assert value("sam_requests_total", route="/predict", status="200") == answered + 2
    assert value("sam_embedding_cache_misses_total") == 1
    assert value("sam_model_info", name="disc", version="disc-1") == 1
    assert value("sam_model_ready") == 1
    assert value("sam_runs", state="running") == 0


def test_a_request_id_joins_request_log_and_error(service: SamService, caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.setFormatter(LogFormatter())

    mine = service.client.post("/predict", data=b"{", headers={"X-Request-ID": "click-7"})
    made = service.client.post("/predict", data=b"{", headers={"X-Request-ID": "click 7"})

    assert mine.headers["X-Request-ID"] == mine.get_json()["request_id"] == "click-7"
    assert re.fullmatch("[0-9a-f]{16}", made.get_json()["request_id"])
    assert caplog.text.splitlines()[0].endswith("request_id=click-7")
    assert current_request_id() is None


def test_validate_tells_what_is_wrong_with_a_config(service: SamService) -> None:
    good = service.client.post("/validate", json={"config": BRUSH_CONFIG})
    bad = service.client.post("/validate", json={"config": '<View><Image name="image" value="$image"/></View>'})

    assert good.status_code == 200
    assert bad.status_code == 400
    assert "no tag for regions" in bad.get_json()["error"]


@pytest.mark.parametrize("action", ["START_TRAINING", "ANNOTATION_CREATED", "TASKS_CREATED", "SOMETHING_NEW"])
def test_every_webhook_is_answered(service: SamService, action: str) -> None:
    response = service.client.post("/webhook", json={"action": action, "project": {"id": 1}})

    assert response.status_code == 201


@pytest.mark.parametrize(
    ("request_body", "status", "complaint"),
    [
        (predict_request([key_point(1e9, 2)]), 400, "value.x=1000000000.0 is more than 1000"),
        (predict_request([key_point(1, 2)], data={"picture": "x"}), 400, "task 1: the task's data has no field"),
        (predict_request([key_point(1, 2)], data={"image": "/gone.png"}), 404, "task 1: no image at '/gone.png'"),
        (
            predict_request([key_point(1, 2)], '<View><Image name="image" value="$image"/></View>'),
            400,
            "no tag for regions",
        ),
        (predict_request([key_point(1, 2)], "<View"), 400, "not valid XML"),
        (predict_request([key_point(1, 2, to_name="audio")]), 400, "toName='audio'"),
        (predict_request([key_point(1, 2, item_index=3)]), 400, "item_index=3, but the item has 1 page(s)"),
        (predict_request([key_point(1, 2)], tasks=[]), 400, "tasks is empty"),
        (
            predict_request([key_point(50, 50, original_width=99_999, original_height=99_999)]),
            413,
            "99999 x 99999 is more than",
        ),
        ([], 400, "the body must be a JSON object, not []"),
    ],
)
def test_bad_input_gets_its_status_and_names_field_and_value(
    service: SamService, request_body: object, status: int, complaint: str, caplog: pytest.LogCaptureFixture
) -> None:
    response = service.client.post("/predict", json=request_body)

    assert response.status_code == status
    assert complaint in response.get_json()["error"]
    assert complaint in caplog.text
    assert "Traceback" not in response.text


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"tasks": NaN}'])
def test_a_body_that_is_no_json_is_refused(service: SamService, body: bytes) -> None:
    response = service.client.post("/predict", data=body, content_type="application/json")

    assert response.status_code == 400
    assert "not JSON" in response.get_json()["error"]


def test_a_broken_picture_is_refused_by_name(service: SamService) -> None:
    service.fake_fetcher.images["/data/upload/1/image.png"] = png_image()[:60]

    response = service.client.post("/predict", json=predict_request([key_point(50, 50)]))

    assert response.status_code == 422
    assert "task 1" in response.get_json()["error"]


def test_a_picture_over_the_limit_is_refused_by_name(service: SamService) -> None:
    service.fake_fetcher.images["/data/upload/1/image.png"] = png_image(width=2000, height=1000)

    response = service.client.post("/predict", json=predict_request([key_point(50, 50)]))

    assert response.status_code == 413
    assert "2000" in response.get_json()["error"]


@pytest.mark.parametrize("path", ["/setup", "/validate", "/api/runs", "/nowhere"])
def test_bodies_of_other_routes_are_small(service: SamService, path: str) -> None:
    response = service.client.post(path, data=b"{" + b" " * (256 << 10), content_type="application/json")

    assert response.status_code == (404 if path == "/nowhere" else 413)
    if path != "/nowhere":
        assert response.get_json()["error"] == "the body is larger than 256 KiB, the limit of this path"


def test_an_import_of_many_tasks_is_no_small_body(service: SamService) -> None:
    tasks = [{"id": i, "data": {"image": "/a.png"}} for i in range(1, 20_000)]
    event = {"action": "TASKS_CREATED", "project": {"id": 1}, "tasks": tasks}

    assert service.client.post("/webhook", json=event).status_code == 201


def test_a_query_that_is_not_utf_8_is_refused(service: SamService) -> None:
    response = service.client.get("/api/runs", environ_overrides={"QUERY_STRING": "project=\xe9"})

    assert response.status_code == 400


def test_large_extra_params_are_refused_and_the_list_of_checks_says_why(
    service: SamService, caplog: pytest.LogCaptureFixture
) -> None:
    service.client.post("/setup", json={**setup_request(), "extra_params": {"label_map": {"a": "b" * 20_000}}})

    checks = {check["name"]: check for check in service.client.get("/api/status").get_json()["checks"]}

    reason = "project 1: the extra parameters have 20024 bytes; the maximum is 16384"
    assert checks["Extra parameters"]["problem"] == reason
    assert reason in caplog.text
    service.client.post("/setup", json=setup_request())
    names = [check["name"] for check in service.client.get("/api/status").get_json()["checks"]]
    assert "Extra parameters" not in names


def test_a_body_over_the_limit_is_refused_with_the_setting_to_change() -> None:
    service = SamService(Settings(max_body_mib=1))

    response = service.client.post("/predict", data=b" " * (1 << 20) + b"{}", content_type="application/json")

    assert response.status_code == 413
    assert "SAM_MAX_BODY_MIB" in response.get_json()["error"]


def test_what_nobody_thought_of_leaves_no_traceback_in_the_answer(
    service: SamService, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service.segmenter, "segment", lambda *_: 1 / 0)

    response = service.client.post("/predict", json=predict_request([key_point(50, 50)]))

    assert response.status_code == 500
    assert response.get_json()["error"] == "internal error: see the backend's log"
    assert response.get_json()["request_id"] == response.headers["X-Request-ID"]
    assert "ZeroDivisionError" in caplog.text


def test_unknown_addresses_and_methods_are_answered_in_json(service: SamService) -> None:
    assert service.client.get("/nowhere").status_code == 404
    assert service.client.get("/predict").status_code == 405
    assert "error" in service.client.get("/predict").get_json()


def test_a_model_that_still_loads_is_said_with_503_after_the_wait() -> None:
    go_on = threading.Event()
    service = SamService(Settings(model_wait_s=0.01), load=lambda _: go_on.wait(timeout=10) and DiscSegmenter())

    response = service.client.post("/predict", json=predict_request([key_point(50, 50)]))
    health = service.client.get("/health").get_json()
    go_on.set()

    assert response.status_code == 503
    assert "still loading after 0.01 s" in response.get_json()["error"]
    assert health["state"] == "loading"


def test_a_model_that_cannot_be_loaded_is_named_in_health() -> None:
    def load(_: object) -> DiscSegmenter:
        raise WeightsUnavailableError("sam_b.pt is not here")

    service = SamService(load=load)
    response = service.client.post("/predict", json=predict_request([key_point(50, 50)]))

    health = service.client.get("/health").get_json()

    assert response.status_code == 503
    assert health["state"] == "failed"
    assert health["problem"] == "could not load model disc: sam_b.pt is not here"


def test_a_password_is_asked_of_everyone_but_event_webhooks() -> None:
    service = SamService(Settings(basic_auth_user="u", basic_auth_password="p"))
    good = {"Authorization": "Basic " + base64.b64encode(b"u:p").decode()}
    bad = {"Authorization": "Basic " + base64.b64encode(b"u:x").decode()}

    assert service.client.get("/health").status_code == 401
    assert service.client.get("/health", headers=bad).status_code == 401
    assert service.client.get("/health", headers=good).status_code == 200
    assert service.client.post("/webhook", json={"action": "TASKS_CREATED"}).status_code == 201


@pytest.mark.parametrize(
    "header", ["Basic \xff\xfe", "Basic", "Basic =", "Basic //79", "basic dTo", "Bearer dTpw", "Basic dTpwOg==", "\xff"]
)
def test_a_password_that_cannot_be_read_is_refused(header: str) -> None:
    service = SamService(Settings(basic_auth_user="u", basic_auth_password="p"))

    assert service.client.get("/health", headers={"Authorization": header}).status_code == 401


@pytest.mark.parametrize("number", ["9" * 3900, "9" * 5000, "9" * 20, "-1", "0", "x", "\u0663" * 5000])
def test_a_project_that_is_no_number_is_a_bad_request(service: SamService, number: str) -> None:
    assert service.client.get("/api/runs", query_string={"project": number}).status_code == 400


def test_no_password_of_a_url_is_answered(service: SamService) -> None:
    url = "http://ann:secret@host/a.png"

    response = service.client.post("/predict", json=predict_request([key_point(50, 50)], data={"image": url}))

    assert response.status_code == 404
    assert "http://***@host/a.png" in response.text
    assert "secret" not in response.text


def test_an_image_inside_the_task_is_read_whatever_its_length() -> None:
    fetcher = ImageFetcher(LabelStudioCredentials(None, None), FetchLimits())

    for length in range(12):
        data = bytes(range(length))
        uri = "data:image/png;base64," + base64.b64encode(data).decode()
        assert fetcher.fetch(uri) == data


def test_the_event_prewarm_is_answered_at_once_and_embeds_the_image(service: SamService) -> None:
    request = predict_request([])
    request["params"]["context"] = {"event": "prewarm"}
    service.segmenter.go_on.clear()

    answer = service.predict(request)
    while not service.segmenter.images:
        time.sleep(0.001)
    service.segmenter.go_on.set()
    service.predict(predict_request([key_point(50, 50)]))

    assert answer == {"result": [], "score": 0.0, "model_version": "disc-1"}
    assert len(service.segmenter.images) == 1


def test_the_event_capabilities_names_prompts_and_limits(service: SamService) -> None:
    request = predict_request([])
    request["params"]["context"] = {"event": "capabilities", "result": []}

    answer = service.predict(request)

    assert answer["result"] == []
    assert answer["capabilities"]["events"] == ["prewarm", "capabilities"]
    assert answer["capabilities"]["prompts"] == ["keypoint", "rectangle", "textarea"]


@pytest.mark.parametrize("event", ["hover", 7, None, {"name": "prewarm"}])
def test_with_an_unknown_event_the_prompts_are_answered(service: SamService, event: object) -> None:
    request = predict_request([key_point(50, 50)])
    request["params"]["context"]["event"] = event

    assert len(service.predict(request)["result"]) == 1
