import pytest

from sam_backend.interactive.prompts import prompt_from_regions, regions_by_object
from sam_backend.protocol.regions import PromptRegion, prompt_regions_from_json
from sam_model.types import Point, Prompt
from sam_testing.label_studio import key_point, rectangle

SIZE = (20, 40)  # height, width: unequal, so that a swap shows


def objects(*results: dict) -> list[list[str]]:
    return [[region.id for region in of_one] for of_one in regions_by_object(prompt_regions_from_json(list(results)))]


def prompt(*results: dict) -> Prompt | None:
    return prompt_from_regions(prompt_regions_from_json(list(results)), SIZE)


def test_points_become_pixels_with_their_fractions() -> None:
    found = prompt(key_point(12.5, 33.3), key_point(50, 50, "p2", is_positive=False))

    assert found == Prompt(points=(Point(5.0, pytest.approx(6.66), True), Point(20.0, 10.0, False)))


def test_points_beyond_the_edge_are_moved_onto_it() -> None:
    found = prompt(key_point(-3, 104), key_point(100, 0, "p2"))

    assert found == Prompt(points=(Point(0.0, 20.0), Point(40.0, 0.0)))


def test_a_rectangle_becomes_a_box() -> None:
    assert prompt(rectangle(25, 50, 50, 25)) == Prompt(box=(10.0, 10.0, 30.0, 15.0))


def test_a_rectangle_drawn_beyond_the_edge_is_cut_there() -> None:
    assert prompt(rectangle(-10, 50, 50, 80)) == Prompt(box=(0.0, 10.0, 16.0, 20.0))


@pytest.mark.parametrize("nothing", [rectangle(10, 10, 0, 50), rectangle(120, 10, 20, 50)])
def test_a_rectangle_without_area_in_the_image_means_no_object(nothing: dict, caplog: pytest.LogCaptureFixture) -> None:
    assert prompt(nothing) is None
    assert "region r1: rectangle without area" in caplog.text


def test_negative_points_alone_mean_no_object() -> None:
    assert prompt(key_point(10, 10, is_positive=False)) is None


def test_points_of_one_label_are_one_object() -> None:
    assert objects(key_point(1, 1, "a"), key_point(2, 2, "b", is_positive=False)) == [["a", "b"]]


def test_every_rectangle_is_an_object_of_its_own() -> None:
    assert objects(rectangle(1, 1, 5, 5, "a"), rectangle(50, 50, 5, 5, "b")) == [["a"], ["b"]]


def test_each_positive_point_can_be_an_object_with_all_negative_ones() -> None:
    results = [key_point(1, 1, "a"), key_point(2, 2, "b"), key_point(3, 3, "c", is_positive=False)]
    box = rectangle(1, 1, 5, 5, "r")

    def objects_of(drawn: list[dict]) -> list[list[str]]:
        found = regions_by_object(prompt_regions_from_json(drawn), each_point_an_object=True)
        return [[region.id for region in of_one] for of_one in found]

    assert objects_of(results) == [["a", "c"], ["b", "c"]]
    assert objects_of([results[2]]) == [["c"]]
    assert objects_of([*results, box]) == [["r", "a", "b", "c"]]


def test_points_of_two_labels_or_pages_are_two_objects() -> None:
    assert objects(key_point(1, 1, "a"), key_point(2, 2, "b", "Dog")) == [["a"], ["b"]]
    assert objects(key_point(1, 1, "a", item_index=0), key_point(2, 2, "b", item_index=1)) == [["a"], ["b"]]


def test_a_point_belongs_to_the_only_rectangle_wherever_it_lies() -> None:
    inside, outside = key_point(10, 10, "in"), key_point(90, 90, "out", is_positive=False)

    assert objects(inside, rectangle(5, 5, 20, 20), outside) == [["r1", "in", "out"]]


def test_of_several_rectangles_a_point_belongs_to_the_smallest_around_it() -> None:
    big, small = rectangle(0, 0, 50, 50, "big"), rectangle(5, 5, 20, 20, "small")

    found = objects(big, small, key_point(10, 10, "both"), key_point(40, 40, "big only"))

    assert found == [["big", "big only"], ["small", "both"]]


def test_a_positive_point_outside_all_rectangles_is_an_object_of_its_own() -> None:
    boxes = rectangle(0, 0, 20, 20, "a"), rectangle(50, 50, 20, 20, "b")

    assert objects(*boxes, key_point(90, 10, "p")) == [["a"], ["b"], ["p"]]


def test_a_negative_point_outside_all_rectangles_counts_for_each() -> None:
    boxes = rectangle(0, 0, 20, 20, "a"), rectangle(50, 50, 20, 20, "b")

    assert objects(*boxes, key_point(90, 10, "n", is_positive=False)) == [["a", "n"], ["b", "n"]]


def test_the_views_rotation_changes_nothing() -> None:
    turned = rectangle(25, 50, 50, 25, image_rotation=270)

    assert prompt(turned) == prompt(rectangle(25, 50, 50, 25))


def test_no_regions_are_no_objects() -> None:
    empty: tuple[PromptRegion, ...] = ()

    assert regions_by_object(empty) == []
