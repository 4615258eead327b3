import pytest

from sam_backend.errors import BadRequestError
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.preannotation.loading import version_with
from sam_backend.preannotation.provenance import (
    is_of_run,
    is_ours,
    model_version,
    new_run_id,
    region_id,
    score_without_regions,
)
from sam_backend.runs.task_source import sampled_in
from sam_backend.settings import Settings
from sam_model.weights.store import store_from_env


def test_a_configuration_survives_the_round_trip_through_json() -> None:
    body = {
        "project": 3,
        "detector": "yolov8n",
        "text": "cat, red car=Vehicle",
        "label_thresholds": {"Cat": 0.5},
        "filter": {"ids": [4, 5], "state": "labeled", "sample": 1},
        "policy": "add",
        "show": True,
    }

    found = RunConfiguration.from_json(body)

    assert RunConfiguration.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({}, "project"),
        ({"project": "3"}, "project"),
        ({"project": 3, "colour": 1}, "unknown field 'colour'"),
        ({"project": 3, "score_threshold": 2}, "score_threshold"),
        ({"project": 3, "policy": "replace"}, "policy='replace' is not one of skip, replace-own, add"),
        ({"project": 3, "label_map": {"a": 1}}, "label_map.a"),
        ({"project": 3, "filter": {"ids": []}}, "filter.ids is empty"),
        ({"project": 3, "filter": {"ids": [0]}}, r"filter.ids\[0\]"),
        ({"project": 3, "filter": {"state": "done"}}, "filter.state='done'"),
        ({"project": 3, "at_most": 5}, "the field 'at_most', which was renamed: use 'max_detections'"),
        ({"project": 3, "max_detections": 0}, "max_detections"),
        ({"project": 3, "text": "cat="}, "'cat=' needs words and a label"),
        ({"project": 3, "text": "cat", "detector": "everything"}, "'everything' finds no words; use 'auto'"),
        ({"project": 3, "detector": "auto"}, "detector='auto' needs text"),
        ({"project": 3, "detector": "everything", "points_per_side": 0}, "points_per_side"),
        ({"project": 3, "detector": "everything", "points_per_side": 1000}, "points_per_side"),
        ({"project": 3, "points_per_side": 16}, "only detector='everything' has a grid of points"),
        ({"project": 3, "show": 1}, "show=1 is neither true nor false"),
    ],
)
def test_a_field_that_cannot_be_used_is_named_with_its_value(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(BadRequestError, match=words):
        RunConfiguration.from_json(wrong)


def test_words_choose_the_detector_unless_one_is_named() -> None:
    assert RunConfiguration.from_json({"project": 3, "text": "cat"}).detector == "auto"
    assert RunConfiguration.from_json({"project": 3, "text": "cat", "detector": "yolov8n"}).detector == "yolov8n"


def test_a_stored_configuration_of_an_earlier_version_is_read_with_the_new_names() -> None:
    assert RunConfiguration.from_stored_json({"project": 3, "at_most": 5}) == RunConfiguration(3, max_detections=5)


def test_a_renamed_field_leaves_the_model_version_as_it_was() -> None:
    store = store_from_env({"SAM_OFFLINE": "1"})

    # computed before `at_most` became `max_detections`: the policy `skip` still recognises those predictions
    assert version_with(RunConfiguration(1), "m", "f", Settings(), store) == "label-studio-sam classical+m b01bb465"
    grid = RunConfiguration(1, detector="everything", points_per_side=16)
    assert version_with(grid, "m", "f", Settings(), store) != version_with(
        RunConfiguration(1, detector="everything"), "m", "f", Settings(), store
    )
    bridges = Settings(polygon_parts="bridges")
    assert version_with(RunConfiguration(1), "m", "f", bridges, store) != "label-studio-sam classical+m b01bb465"


def test_a_prediction_is_recognised_as_its_runs_and_no_others() -> None:
    one, other = "261124-4f3a9c", "261124-4f3a9d"
    version = model_version("yolov8n", "sam_b", "0123456789abcdef")
    full = {"model_version": version, "result": [{"id": region_id(one, 7, 0)}], "score": 0.5}
    empty = {"model_version": version, "result": [], "score": score_without_regions(one)}

    assert version == "label-studio-sam yolov8n+sam_b 01234567"
    assert is_of_run(full, one)
    assert not is_of_run(full, other)
    assert is_of_run(empty, one)
    assert not is_of_run(empty, other)
    assert 0 <= score_without_regions("261124-ffffff") < 0.00002
    assert is_ours(full)
    assert not is_ours({**full, "model_version": "somebody else"})
    assert not is_of_run({**full, "model_version": "somebody else"}, one)
    assert new_run_id() != new_run_id()


def test_a_sample_is_spread_evenly_and_pages_agree_on_it() -> None:
    assert sampled_in(0, 10, 10, 3) == [0, 3, 6]
    assert sampled_in(0, 4, 4, 9) == [0, 1, 2, 3]
    whole = sampled_in(0, 1000, 1000, 37)
    pages = [place for first in range(0, 1000, 100) for place in sampled_in(first, first + 100, 1000, 37)]
    assert len(whole) == 37
    assert pages == whole
