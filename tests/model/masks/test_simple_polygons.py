from typing import Literal

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sam_model.masks.fill import fill_outlines
from sam_model.masks.polygons import Outline
from sam_model.masks.simple_polygons import MIN_IOU, MIN_PART_SHARE, simple_polygons
from sam_model.types import Mask

Parts = Literal["largest", "separate", "bridges"]
PARTS: tuple[Parts, ...] = ("largest", "separate", "bridges")
MASKS = st.tuples(st.integers(1, 14), st.integers(1, 12)).flatmap(lambda size: arrays(bool, size))
Y, X = np.mgrid[0:600, 0:800]


def disc(x: float, y: float, radius: float) -> Mask:
    return np.asarray(np.hypot(X - x, Y - y) < radius)


def iou(one: Mask, other: Mask) -> float:
    return float((one & other).sum() / (one | other).sum())


def is_simple(polygon: Outline) -> bool:
    """Return whether no two edges have a point in common, except neighbours at their common end."""
    points = [(int(x), int(y)) for x, y in (2 * polygon).tolist()]
    assert np.array_equal(np.array(points) / 2, polygon)  # half pixels, so whole numbers decide exactly
    edges = list(zip(points, points[1:] + points[:1], strict=True))

    def turn(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> int:
        return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])

    def on(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> bool:
        within = all(min(a[i], b[i]) <= c[i] <= max(a[i], b[i]) for i in (0, 1))
        return turn(a, b, c) == 0 and within

    def touch(one: int, other: int) -> bool:
        (a, b), (c, d) = edges[one], edges[other]
        if (one + 1) % len(edges) == other:
            return on(a, b, d) or on(c, d, a)
        if (other + 1) % len(edges) == one:
            return on(a, b, c) or on(c, d, b)
        crosses = turn(a, b, c) * turn(a, b, d) < 0 and turn(c, d, a) * turn(c, d, b) < 0
        return crosses or on(a, b, c) or on(a, b, d) or on(c, d, a) or on(c, d, b)

    pairs = ((one, other) for one in range(len(edges)) for other in range(one))
    return len(points) >= 3 and not any(touch(one, other) for one, other in pairs)


def test_the_check_of_these_tests_finds_a_crossing_and_a_fold() -> None:
    assert is_simple(np.array([(0, 0), (4, 0), (4, 4)], np.float32))
    assert not is_simple(np.array([(0, 0), (4, 4), (4, 0), (0, 4)], np.float32))
    assert not is_simple(np.array([(0, 0), (4, 0), (2, 0), (2, 3)], np.float32))


@given(MASKS, st.sampled_from(PARTS), st.sampled_from((0.0, 1.0, 4.0)))
def test_no_polygon_touches_itself(mask: Mask, parts: Parts, tolerance: float) -> None:
    polygons = simple_polygons(mask, tolerance, parts)

    assert bool(polygons) == bool(mask.any())
    assert all(is_simple(polygon) for polygon in polygons)
    assert parts == "separate" or len(polygons) <= 1


@given(MASKS)
def test_without_tolerance_the_polygons_are_exactly_the_parts_with_their_holes_filled(mask: Mask) -> None:
    count, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=4)
    parts = [labels == part for part in range(1, count)]
    expected = []
    for part in parts:
        background, areas = cv2.connectedComponents(np.pad(~part, 1, constant_values=True).view(np.uint8))[1], []
        expected.append((background != background[0, 0])[1:-1, 1:-1])
        areas.append(expected[-1].sum())
    largest = max((part.sum() for part in expected), default=0)
    kept = [part for part in expected if part.sum() >= MIN_PART_SHARE * largest]

    found = [fill_outlines([polygon], mask.shape) for polygon in simple_polygons(mask, 0)]

    assert sorted(part.tobytes() for part in found) == sorted(part.tobytes() for part in kept)


@pytest.mark.parametrize("long_side", [200, 640, 1000, 4000])
@pytest.mark.parametrize("radius", [4, 20, 75, 150])
def test_a_smooth_object_has_few_vertices_and_keeps_its_shape(radius: int, long_side: int) -> None:
    mask = disc(400.3, 299.6, radius)

    (polygon,) = simple_polygons(mask, long_side / 1000)

    assert len(polygon) <= 60
    assert iou(fill_outlines([polygon], mask.shape), mask) >= MIN_IOU
    painted = np.zeros(mask.shape, np.uint8)  # by another program, which also paints the border
    cv2.fillPoly(painted, [np.round(polygon - 0.5).astype(np.int32)], 1)
    assert radius < 75 or iou(painted.astype(bool), mask) >= 0.97


def test_a_rectangle_keeps_its_four_corners() -> None:
    mask = np.zeros((40, 80), dtype=bool)
    mask[10:30, 20:60] = True

    (polygon,) = simple_polygons(mask, 1)

    assert sorted(map(tuple, polygon.tolist())) == [(20, 10), (20, 30), (60, 10), (60, 30)]


def test_bridges_keep_holes_and_parts_in_one_polygon() -> None:
    mask = disc(250, 300, 150) & ~disc(230, 300, 60) & ~disc(330, 340, 30) | disc(500, 300, 60) | disc(420, 120, 50)

    (largest,) = simple_polygons(mask, 0.8, "largest")
    separate = simple_polygons(mask, 0.8, "separate")
    (joined,) = simple_polygons(mask, 0.8, "bridges")

    assert is_simple(joined)
    assert iou(fill_outlines([joined], mask.shape), mask) >= MIN_IOU
    assert len(joined) < 250
    assert len(separate) == 3
    assert np.array_equal(separate[0], largest)


def test_a_line_of_single_pixels_is_a_polygon() -> None:
    mask = np.zeros((40, 80), dtype=bool)
    mask[20, 10:70] = True

    (polygon,) = simple_polygons(mask, 5)

    assert is_simple(polygon)
    assert np.array_equal(fill_outlines([polygon], mask.shape), mask)
