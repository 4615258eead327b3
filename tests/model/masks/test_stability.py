import math

import numpy as np

from sam_model.masks.stability import soft_border, stability_score, thin_edges, without_holes, without_specks


def test_stability_is_the_smaller_cut_over_the_larger() -> None:
    logits = np.array([[5, 5, 5, 0.5], [5, -0.5, -5, -5]], dtype=np.float32)

    assert stability_score(logits, 0.0, 1.0) == np.float32(4) / np.float32(6)


def test_logits_at_a_cut_are_outside_of_it() -> None:
    assert stability_score(np.array([[1.0, 2.0, 0.0]], dtype=np.float32), 0.0, 1.0) == np.float32(1) / np.float32(3)


def test_nothing_at_all_has_no_stability() -> None:
    assert math.isnan(stability_score(np.full((2, 2), -9, dtype=np.float32), 0.0, 1.0))


def test_small_holes_are_filled_and_large_ones_stay() -> None:
    mask = np.ones((10, 12), dtype=bool)
    mask[2, 2:4] = False
    mask[5:8, 5:9] = False

    filled, is_changed = without_holes(mask, 3)

    assert is_changed
    assert filled[2, 2:4].all()
    assert not filled[5:8, 5:9].any()
    assert not mask[2, 2]


def test_small_parts_are_dropped_and_corners_connect() -> None:
    mask = np.zeros((10, 12), dtype=bool)
    mask[1:4, 1:4] = True
    mask[4, 4] = True  # touches the part by a corner
    mask[8, 10] = True

    kept, is_changed = without_specks(mask, 2)

    assert is_changed
    assert kept[4, 4]
    assert kept.sum() == 10


def test_of_small_parts_only_the_largest_stays() -> None:
    mask = np.zeros((5, 8), dtype=bool)
    mask[0, 0] = mask[2, 2] = mask[2, 3] = True

    kept, is_changed = without_specks(mask, 100)

    assert is_changed
    assert np.argwhere(kept).tolist() == [[2, 2], [2, 3]]


def test_a_mask_without_specks_or_holes_is_left_alone() -> None:
    mask = np.zeros((5, 8), dtype=bool)
    mask[1:4, 1:6] = True

    assert without_holes(mask, 5)[1] is False
    assert without_specks(mask, 5)[1] is False


def test_nothing_stays_nothing() -> None:
    assert not without_specks(np.zeros((4, 5), dtype=bool), 9)[0].any()


def test_the_soft_border_is_steep_where_the_border_is_sure() -> None:
    x = np.arange(40, dtype=np.float32)[None].repeat(30, 0)
    sure, unsure = 8 * (x - 19.5), 0.5 * (x - 19.5)  # the border is between columns 19 and 20

    border = soft_border(sure)

    assert border[15, 18:22].max() > 4 * soft_border(unsure)[15, 18:22].max() > 0
    assert not border[:, :17].any()
    assert not border[:, 23:37].any()


def test_huge_logits_have_a_border_of_finite_numbers() -> None:
    logits = np.where(np.arange(20) < 10, -1e4, 1e4).astype(np.float32)[None].repeat(20, 0)

    assert np.isfinite(soft_border(logits)).all()


def test_the_border_of_a_hole_is_no_outer_border() -> None:
    logits = np.full((60, 80), -8, dtype=np.float32)
    logits[10:50, 10:70] = 8
    logits[25:35, 35:45] = -8

    border = soft_border(logits)

    assert border[10, 30] > 0
    assert not border[23:37, 33:47].any()


def test_a_blurred_line_thins_to_its_crest() -> None:
    x = np.arange(50, dtype=np.float32)
    edges = np.exp(-(((x - 21) / 3) ** 2))[None].repeat(40, 0).astype(np.float32)

    for upright in (edges, np.ascontiguousarray(edges.T)):
        thin = thin_edges(upright)
        across = thin if upright is edges else thin.T

        assert (across[5:-5] > 0.1).sum(axis=1).tolist() == [1] * 30
        assert (across[5:-5].argmax(axis=1) == 21).all()


def test_a_slanting_line_thins_without_gaps() -> None:
    y, x = np.mgrid[0:60, 0:60].astype(np.float32)
    edges = np.exp(-((((x + y) / math.sqrt(2) - 42.4) / 3) ** 2))

    thin = thin_edges(edges)[10:51, 10:51]

    assert (thin > 0.5).any(axis=0).all()
    assert (thin > 0.5).mean() < 0.08
