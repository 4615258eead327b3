"""Masks drawn by hand to label outlines and back, with three readers: two of ours and pycocotools."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as pycocotools_mask

from sam_model.annotation.inset_polygons import inset_polygons
from sam_model.annotation.joined_outline import join_outlines
from sam_model.annotation.label_outlines import GOOD_ENOUGH, outlines_from_mask, paint_outlines
from sam_model.masks.fill import fill_outlines
from sam_model.masks.polygons import Outline
from sam_model.types import Mask

HEIGHT, WIDTH = 120, 200
Y, X = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5


def disc(x: float, y: float, radius: float) -> Mask:
    return np.asarray(np.hypot(X - x, Y - y) < radius)


def bar(x_min: int, y_min: int, x_max: int, y_max: int) -> Mask:
    return np.asarray((x_min <= X) & (x_max > X) & (y_min <= Y) & (y_max > Y))


MASKS = {
    "disc": disc(100, 60, 50),
    "ring": disc(100, 60, 50) & ~disc(90, 55, 30),
    "island in a ring": (disc(100, 60, 50) & ~disc(100, 60, 35)) | disc(100, 60, 15),
    "two discs": disc(60, 60, 40) | disc(150, 50, 35),
    "three parts, one with two holes": disc(40, 60, 35) & ~disc(30, 60, 8) & ~disc(52, 60, 8)
    | disc(120, 60, 30)
    | bar(160, 20, 190, 100),
    "many holes": bar(20, 10, 180, 110) & ~((X % 16 < 6) & (Y % 16 < 6)),
    "one pixel wide": bar(10, 40, 190, 41) | bar(60, 40, 61, 110),
    "parts that touch by a corner": bar(10, 10, 40, 40) | bar(40, 40, 80, 90),
    "holes that touch by a corner": bar(10, 10, 100, 100) & ~bar(20, 20, 40, 40) & ~bar(40, 40, 60, 60),
    "a frame around everything": ~bar(1, 1, WIDTH - 1, HEIGHT - 1),
    "everything": np.ones((HEIGHT, WIDTH), bool),
    "a triangle": np.asarray(X + 2 * Y < 150),
    "the last pixel": bar(WIDTH - 1, HEIGHT - 1, WIDTH, HEIGHT),
}


def iou(one: Mask, other: Mask) -> float:
    return float(np.count_nonzero(one & other) / np.count_nonzero(one | other))


def filled_by_pycocotools(outlines: list[Outline]) -> Mask:
    polygons = [outline.astype(float).ravel().tolist() for outline in outlines]
    parts = pycocotools_mask.frPyObjects(polygons, HEIGHT, WIDTH)
    return np.asarray(pycocotools_mask.decode(pycocotools_mask.merge(parts)), bool)


@pytest.mark.parametrize("name", MASKS)
def test_one_outline_gives_the_mask_again(name: str) -> None:
    outlines = outlines_from_mask(MASKS[name], join_parts=True)

    assert len(outlines) == 1
    assert iou(paint_outlines(outlines, (HEIGHT, WIDTH)), MASKS[name]) >= 0.98
    assert iou(fill_outlines(outlines, (HEIGHT, WIDTH)), MASKS[name]) >= 0.98


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools itself
@pytest.mark.parametrize("name", MASKS)
def test_an_outline_a_part_gives_the_mask_again_with_cocos_tools_too(name: str) -> None:
    outlines = outlines_from_mask(MASKS[name], join_parts=False)

    assert len(outlines) == len(inset_polygons(MASKS[name]))
    assert iou(paint_outlines(outlines, (HEIGHT, WIDTH)), MASKS[name]) >= 0.98
    assert iou(filled_by_pycocotools(outlines), MASKS[name]) >= 0.98


def test_a_round_mask_needs_few_corners() -> None:
    (outline,) = outlines_from_mask(MASKS["disc"], join_parts=True)

    assert 10 < len(outline) < 100  # of 236 along the pixels


def test_corners_lie_in_the_outermost_pixels() -> None:
    (outline,) = outlines_from_mask(bar(10, 20, 31, 42), join_parts=True)

    assert {tuple(corner) for corner in outline.astype(int).tolist()} == {(10, 20), (30, 20), (30, 41), (10, 41)}
    assert outline.min(axis=0) == pytest.approx([10.05, 20.05])
    assert outline.max(axis=0) == pytest.approx([30.95, 41.95])


def test_a_speck_far_away_is_left_out_since_its_bridge_would_be_painted() -> None:
    large, speck = disc(60, 60, 40), bar(190, 110, 192, 112)  # 4 pixels, some 100 away

    (joined,) = outlines_from_mask(large | speck, join_parts=True)
    apart = outlines_from_mask(large | speck, join_parts=False)

    painted = paint_outlines([joined], (HEIGHT, WIDTH))
    assert not (painted & speck).any()
    assert iou(painted, large | speck) >= 0.98
    assert (paint_outlines(apart, (HEIGHT, WIDTH)) & speck).sum() == 4


def test_small_regions_that_are_worth_the_way_together_are_kept() -> None:
    large = disc(30, 60, 25)
    cluster = (X > 160) & (Y > 40) & (Y < 80) & (X % 8 < 6) & (Y % 8 < 6)  # 36 pixels each, more than 100 pixels away

    (joined,) = outlines_from_mask(large | cluster, join_parts=True)

    assert (paint_outlines([joined], (HEIGHT, WIDTH)) & cluster).sum() == cluster.sum()


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.integers(1, 12), st.integers(1, 9)).flatmap(lambda size: arrays(bool, size)))
def test_any_mask_comes_back_from_an_outline_a_part(mask: Mask) -> None:
    if not mask.any():
        return
    outlines = outlines_from_mask(mask, join_parts=False)

    assert iou(fill_outlines(outlines, mask.shape), mask) >= 0.98
    assert iou(paint_outlines(outlines, mask.shape), mask) >= 0.98


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.integers(1, 12), st.integers(1, 9)).flatmap(lambda size: arrays(bool, size)))
@example(np.arange(12 * 9).reshape(12, 9) != 1)  # a notch of one pixel among 108, which simplification fills
def test_bridges_add_nothing_to_any_mask_and_simplification_at_most_a_hundredth(mask: Mask) -> None:
    if not mask.any():
        return
    exact = [outline for polygon in inset_polygons(mask) for outline in (polygon.outer, *polygon.holes)]
    (outline,) = outlines_from_mask(mask, join_parts=True)

    assert not (fill_outlines([join_outlines(exact)], mask.shape) & ~mask).any()  # a bridge has no width
    added = fill_outlines([outline], mask.shape) & ~mask  # where the outline is simplified
    assert added.sum() <= (1 - GOOD_ENOUGH) * (mask | added).sum()


def test_a_bridge_goes_the_shortest_way_from_the_middle_of_an_edge() -> None:
    tall = np.array([[0, 0], [10, 0], [10, 100], [0, 100]], np.float32)
    small = np.array([[20, 48], [30, 48], [30, 52], [20, 52]], np.float32)

    joined = join_outlines([tall, small])

    steps = np.linalg.norm(np.roll(joined, -1, axis=0) - joined, axis=1)
    assert len(joined) == 4 + 4 + 3  # both, the small one's first corner twice, and the two ends on the tall one
    assert sorted(steps)[:4] == pytest.approx([4, 4, 10, 10])
    assert np.count_nonzero(np.isclose(steps, 10)) >= 4  # two short sides of the tall one, the bridge there and back


def test_an_outline_is_kept_where_its_bridge_is_worth_it() -> None:
    square = np.array([[0, 0], [10, 0], [10, 10], [0, 10]], np.float32)
    outlines = [square, square + np.float32([100, 0]), square + np.float32([40, 0])]

    assert join_outlines(outlines, [100, 60, 30])[:, 0].max() == 110  # the far one hangs on the near one
    assert join_outlines(outlines, [100, 20, 29])[:, 0].max() == 10
    assert join_outlines(outlines, [100, 20, 30])[:, 0].max() == 50
    assert join_outlines(outlines)[:, 0].max() == 110
