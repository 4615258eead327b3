import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sam_model.masks.polygons import polygons_from_mask

MASKS = st.tuples(st.integers(1, 10), st.integers(1, 8)).flatmap(lambda size: arrays(bool, size))


def filled(mask: np.ndarray) -> np.ndarray:
    """The pixels whose centres lie in an odd number of outlines."""
    y, x = np.mgrid[0 : mask.shape[0], 0 : mask.shape[1]] + 0.5
    inside = np.zeros(mask.shape, dtype=bool)
    for polygon in polygons_from_mask(mask):
        for outline in (polygon.outer, *polygon.holes):
            for (x0, y0), (_, y1) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
                inside ^= ((y0 > y) != (y1 > y)) & (x0 > x)  # upright edges to the right of the centre
    return inside


def test_one_pixel_is_a_square_of_side_one() -> None:
    mask = np.zeros((3, 5), dtype=bool)
    mask[1, 3] = True

    (polygon,) = polygons_from_mask(mask)

    assert sorted(map(tuple, polygon.outer.tolist())) == [(3, 1), (3, 2), (4, 1), (4, 2)]
    assert polygon.holes == ()


def test_a_hole_belongs_to_the_part_around_it_and_an_island_is_a_part_of_its_own() -> None:
    mask = np.ones((7, 9), dtype=bool)
    mask[1:6, 1:8] = False
    mask[3, 4] = True

    ring, island = polygons_from_mask(mask)

    assert (len(ring.outer), len(ring.holes), len(ring.holes[0])) == (4, 1, 4)
    assert (len(island.outer), len(island.holes)) == (4, 0)


def test_pixels_that_touch_by_a_corner_are_two_parts() -> None:
    for mask in (np.eye(2, dtype=bool), np.eye(2, dtype=bool)[::-1]):
        assert [len(polygon.outer) for polygon in polygons_from_mask(np.ascontiguousarray(mask))] == [4, 4]


def test_nothing_has_no_outline() -> None:
    assert polygons_from_mask(np.zeros((4, 3), dtype=bool)) == []


@given(MASKS)
def test_filling_the_outlines_gives_the_mask_again(mask: np.ndarray) -> None:
    assert np.array_equal(filled(mask), mask)


def test_a_tolerance_leaves_fewer_corners_and_nearly_the_same_area() -> None:
    y, x = np.mgrid[0:90, 0:120]
    mask = np.hypot(x - 60, y - 45) < 40

    (exact,), (simple,) = polygons_from_mask(mask), polygons_from_mask(mask, tolerance=1.0)

    assert len(simple.outer) < len(exact.outer) / 4
    x, y = simple.outer.T
    area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    assert abs(area - mask.sum()) < 0.02 * mask.sum()
