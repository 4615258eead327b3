import math

import numpy as np

from sam_model.masks.edges import soft_border, thin_edges


def test_the_soft_border_is_steep_where_the_border_is_certain() -> None:
    x = np.arange(40, dtype=np.float32)[None].repeat(30, 0)
    certain, uncertain = 8 * (x - 19.5), 0.5 * (x - 19.5)  # the border is between columns 19 and 20

    border = soft_border(certain)

    assert border[15, 18:22].max() > 4 * soft_border(uncertain)[15, 18:22].max() > 0
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
