import numpy as np
import pytest

from sam_model.masks.cleaning import MaskCleaning, clean_mask, drop_specks, fill_holes, keep_clicked_parts
from sam_model.types import Mask, Point


def drawn(*rows: str) -> Mask:
    return np.array([[letter == "#" for letter in row] for row in rows])


PICTURE = drawn(
    "#####..##",
    "#.#.#..##",
    "#####....",
    ".........",
    "##......#",
)


def test_nothing_is_done_unless_asked_for() -> None:
    assert clean_mask(PICTURE, MaskCleaning()) is PICTURE


def test_small_holes_are_filled_and_the_background_is_not() -> None:
    filled = fill_holes(PICTURE, 2)

    assert filled.tolist() == drawn("#####..##", "#####..##", "#####....", ".........", "##......#").tolist()


def test_a_hole_of_the_area_itself_stays() -> None:
    assert np.array_equal(fill_holes(PICTURE, 1), PICTURE)


def test_background_at_the_edge_is_no_hole_however_small() -> None:
    mask = drawn("##.", "###")

    assert np.array_equal(fill_holes(mask, 100), mask)


def test_small_parts_are_dropped() -> None:
    dropped = drop_specks(PICTURE, 4)

    assert dropped.tolist() == drawn("#####..##", "#.#.#..##", "#####....", ".........", ".........").tolist()


def test_of_parts_that_are_all_small_the_largest_stays() -> None:
    assert drop_specks(PICTURE, 100).sum() == 13


def test_corners_connect() -> None:
    mask = drawn("#..", ".#.", "..#")

    assert np.array_equal(drop_specks(mask, 3), mask)


def test_the_clicked_parts_stay() -> None:
    kept = keep_clicked_parts(PICTURE, [Point(8.5, 0.5), Point(1.5, 4.5), Point(0, 0, is_positive=False)])

    assert kept.tolist() == drawn(".......##", ".......##", ".........", ".........", "##.......").tolist()


def test_a_click_on_the_far_edge_is_on_the_last_pixel() -> None:
    assert keep_clicked_parts(PICTURE, [Point(9, 5)]).sum() == 1


def test_a_click_beside_all_parts_leaves_them_all() -> None:
    assert np.array_equal(keep_clicked_parts(PICTURE, [Point(4.5, 3.5)]), PICTURE)


def test_an_empty_mask_stays_empty() -> None:
    empty = np.zeros((4, 5), dtype=bool)

    assert not clean_mask(empty, MaskCleaning(5, 5, keep_clicked_part=True), [Point(1, 1)]).any()


def test_a_full_mask_stays_full() -> None:
    full = np.ones((4, 5), dtype=bool)

    assert clean_mask(full, MaskCleaning(50, 5, keep_clicked_part=True), [Point(1, 1)]).all()


def test_a_negative_area_is_named() -> None:
    with pytest.raises(ValueError, match="drop_specks_below=-3"):
        MaskCleaning(drop_specks_below=-3)
