import numpy as np
import pytest

from sam_model.masks.cleaning import (
    MaskCleaning,
    clean_mask,
    fill_background_regions,
    fill_holes,
    keep_clicked_regions,
    keep_regions,
    remove_small_regions,
)
from sam_model.types import Mask, Point


def drawn(*rows: str) -> Mask:
    return np.array([[letter == "#" for letter in row] for row in rows])


MASK = drawn(
    "#####..##",
    "#.#.#..##",
    "#####....",
    ".........",
    "##......#",
)


def test_nothing_is_changed_by_default() -> None:
    assert clean_mask(MASK, MaskCleaning()) is MASK


def test_small_holes_are_filled_and_the_background_is_not() -> None:
    filled = fill_holes(MASK, 2)

    assert filled.tolist() == drawn("#####..##", "#####..##", "#####....", ".........", "##......#").tolist()


def test_a_hole_of_the_least_area_stays() -> None:
    assert fill_holes(MASK, 1) is MASK


def test_a_hole_that_is_to_be_kept_stays() -> None:
    filled = fill_holes(MASK, 2, keep=[(1, 3)])

    assert filled.tolist() == drawn("#####..##", "###.#..##", "#####....", ".........", "##......#").tolist()


def test_holes_that_touch_by_a_corner_are_two_with_a_connectivity_of_4() -> None:
    mask = drawn("#####", "#.###", "##.##", "#####")

    assert fill_holes(mask, 2) is mask
    assert fill_holes(mask, 2, connectivity=4).all()


def test_background_at_the_image_border_is_no_hole() -> None:
    mask = drawn("##.", "###")

    assert fill_holes(mask, 100) is mask


def test_the_reference_s_rule_fills_background_at_the_image_border_too() -> None:
    assert fill_background_regions(drawn("##.", "###"), 2).all()


def test_a_background_region_of_the_least_area_stays() -> None:
    mask = np.ones((10, 12), dtype=bool)
    mask[2, 2:4] = False
    mask[5:8, 5:9] = False
    before = mask.copy()

    filled = fill_background_regions(mask, 3)

    assert filled[2, 2:4].all()
    assert not filled[5:8, 5:9].any()
    assert fill_background_regions(mask, 2) is mask
    assert np.array_equal(mask, before)


def test_small_regions_are_removed() -> None:
    kept = remove_small_regions(MASK, 4)

    assert kept.tolist() == drawn("#####..##", "#.#.#..##", "#####....", ".........", ".........").tolist()


def test_the_largest_region_stays_if_all_are_small() -> None:
    assert remove_small_regions(MASK, 100).sum() == 13


def test_regions_that_touch_by_a_corner_are_one() -> None:
    mask = drawn("#..", ".#.", "..#")

    assert remove_small_regions(mask, 3) is mask


def test_clicked_regions_are_kept() -> None:
    kept = keep_clicked_regions(MASK, [Point(8.5, 0.5), Point(1.5, 4.5), Point(0, 0, is_positive=False)])

    assert kept.tolist() == drawn(".......##", ".......##", ".........", ".........", "##.......").tolist()


def test_a_click_on_the_far_edge_is_on_the_last_pixel() -> None:
    assert keep_clicked_regions(MASK, [Point(9, 5)]).sum() == 1


def test_all_regions_are_kept_if_no_click_is_on_the_mask() -> None:
    assert keep_clicked_regions(MASK, [Point(4.5, 3.5)]) is MASK


def test_regions_above_a_share_of_the_largest_are_kept_beside_those_with_a_pixel() -> None:
    kept = keep_regions(MASK, [(4, 8)], min_share=4 / 13)  # the regions have 13, 4, 2 and 1 pixels

    assert kept.tolist() == drawn("#####....", "#.#.#....", "#####....", ".........", "........#").tolist()


def test_an_empty_mask_stays_empty() -> None:
    empty = np.zeros((4, 5), dtype=bool)

    assert not clean_mask(empty, MaskCleaning(5, 5, keep_clicked_region=True), [Point(1, 1)]).any()
    assert remove_small_regions(empty, 9) is empty


def test_a_full_mask_stays_full() -> None:
    full = np.ones((4, 5), dtype=bool)

    assert clean_mask(full, MaskCleaning(50, 5, keep_clicked_region=True), [Point(1, 1)]).all()


def test_the_settings_have_a_short_text_for_fingerprints() -> None:
    assert str(MaskCleaning(30, 20, keep_clicked_region=True)) == "holes30-regions20-clicked"


@pytest.mark.parametrize("name", ["min_hole_area", "min_region_area"])
def test_a_negative_area_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}=-3"):
        MaskCleaning(**{name: -3})
