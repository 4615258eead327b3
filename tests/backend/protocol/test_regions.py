import pytest

from sam_backend.errors import BadRequestError, UnsupportedRegionError
from sam_backend.protocol.regions import KeyPoint, RotatedRectangle, prompt_regions_from_json
from sam_testing.label_studio import key_point, rectangle, with_palette


def test_a_key_point_keeps_its_fractions_and_its_sign() -> None:
    (region,) = prompt_regions_from_json([key_point(29.967069154774972, 40.04756677643615, is_positive=False)])

    assert region.shape == KeyPoint(29.967069154774972, 40.04756677643615, is_positive=False)
    assert region.labels == ("Cat",)
    assert (region.from_name, region.to_name, region.labels_from_name) == ("kp", "image", None)
    assert region.original_size == (20, 40)
    assert region.item_index is None


def test_a_rectangle_keeps_its_rotation() -> None:
    (region,) = prompt_regions_from_json([rectangle(10, 20, 30, 40, rotation=30)])

    assert region.shape == RotatedRectangle(10, 20, 30, 40, rotation=30)


def test_two_results_of_a_palette_with_one_id_are_one_prompt() -> None:
    results = with_palette(key_point(10, 20, "a")) + with_palette(key_point(30, 40, "b"))

    regions = prompt_regions_from_json(results)

    assert [region.id for region in regions] == ["a", "b"]
    assert [region.labels_from_name for region in regions] == ["lab", "lab"]
    assert [region.labels for region in regions] == [("Dog",), ("Dog",)]


def test_a_palettes_rectangle_has_its_label_in_the_twin_only() -> None:
    (region,) = prompt_regions_from_json(with_palette(rectangle(10, 20, 30, 40)))

    assert region.labels == ("Dog",)


def test_other_controls_of_a_region_are_no_prompts_of_their_own() -> None:
    choice = {**key_point(10, 20, "a"), "type": "choices", "from_name": "sure", "value": {"choices": ["yes"]}}

    assert len(prompt_regions_from_json([key_point(10, 20, "a"), choice])) == 1


def test_unknown_regions_alone_are_no_prompts_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    assert prompt_regions_from_json([{**key_point(1, 2), "type": "ellipselabels"}]) == ()
    assert "only ellipselabels" in caplog.text


def test_a_negative_point_in_the_value_counts_for_callers_that_put_it_there() -> None:
    point = key_point(1, 2)
    del point["is_positive"]
    point["value"]["is_positive"] = 0

    (region,) = prompt_regions_from_json([point])

    assert region.shape == KeyPoint(1, 2, is_positive=False)


def test_results_without_ids_are_regions_of_their_own() -> None:
    points = [key_point(1, 2), key_point(3, 4)]
    for point in points:
        del point["id"]

    assert len(prompt_regions_from_json(points)) == 2


@pytest.mark.parametrize("bad", [1e300, "10", None, True, [1], {"a": 1}])
def test_a_coordinate_that_is_no_percentage_is_refused_by_name_and_value(bad: object) -> None:
    point = key_point(10, 20)
    point["value"]["y"] = bad

    with pytest.raises(UnsupportedRegionError, match=r"result\[0\]\.value\.y") as caught:
        prompt_regions_from_json([point])

    assert repr(bad) in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("type", None),
        ("value", "x"),
        ("from_name", 3),
        ("to_name", None),
        ("is_positive", "no"),
        ("original_width", 0),
        ("original_width", 2.5),
        ("original_height", 1e12),
        ("item_index", -1),
    ],
)
def test_a_field_of_the_wrong_kind_is_refused_by_name_and_value(field: str, value: object) -> None:
    with pytest.raises(BadRequestError, match=rf"result\[1\]\.{field}") as caught:
        prompt_regions_from_json([rectangle(1, 2, 3, 4), key_point(1, 2, **{field: value})])

    assert repr(value) in str(caught.value)


def test_labels_that_are_no_text_are_refused() -> None:
    point = key_point(1, 2)
    point["value"]["keypointlabels"] = [{"a": 1}]

    with pytest.raises(BadRequestError, match=r"value\.keypointlabels"):
        prompt_regions_from_json([point])
