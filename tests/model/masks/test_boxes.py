import numpy as np
import pytest
from numpy.typing import NDArray

from sam_model.masks.boxes import SUPPRESSED_AT_ONCE, box_from_mask, box_iou, non_maximum_suppression


def test_a_box_ends_at_the_far_edge_of_the_last_pixel() -> None:
    mask = np.zeros((10, 20), dtype=bool)
    mask[2:5, 4:6] = True

    assert box_from_mask(mask) == (4, 2, 6, 5)


def test_nothing_has_no_box() -> None:
    assert box_from_mask(np.zeros((3, 4), dtype=bool)) is None


def test_the_overlap_is_the_shared_area_over_the_united_one() -> None:
    box = np.array([0, 0, 4, 2], dtype=np.float32)
    others = np.array([[2, 0, 6, 2], [0, 0, 4, 2], [4, 0, 5, 1], [10, 10, 11, 11]], dtype=np.float32)

    assert box_iou(box, others) == pytest.approx([4 / 12, 1, 0, 0])


def test_of_two_that_overlap_the_better_stays_and_comes_first() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10]], dtype=np.float32)
    scores = np.array([0.5, 0.9, 0.7], dtype=np.float32)

    assert non_maximum_suppression(boxes, scores, 0.7).tolist() == [1, 2]


def test_what_a_dropped_box_overlaps_is_not_dropped_for_it() -> None:
    boxes = np.array([[0, 0, 10, 1], [4, 0, 14, 1], [8, 0, 18, 1]], dtype=np.float32)
    scores = np.array([0.9, 0.8, 0.7], dtype=np.float32)  # first and second share 6 of 14, so do second and third

    assert non_maximum_suppression(boxes, scores, 0.4).tolist() == [0, 2]


def test_equal_scores_keep_their_order() -> None:
    boxes = np.array([[10 * i, 0, 10 * i + 5, 5] for i in range(50)], dtype=np.float32)

    kept = non_maximum_suppression(boxes, np.full(50, 0.5, dtype=np.float32), 0.5)

    assert kept.tolist() == list(range(50))


def test_an_overlap_of_exactly_the_threshold_is_kept() -> None:
    boxes = np.array([[0, 0, 2, 1], [0, 0, 1, 1]], dtype=np.float32)  # 1 of 2
    scores = np.array([0.9, 0.8], dtype=np.float32)

    assert non_maximum_suppression(boxes, scores, 0.5).tolist() == [0, 1]
    assert non_maximum_suppression(boxes, scores, 0.499).tolist() == [0]


def test_the_threshold_is_compared_in_double_precision() -> None:
    boxes = np.array([[0, 0, 10, 1], [0, 0, 7, 1]], dtype=np.float32)  # 7 of 10: in float32 a little below 0.7
    scores = np.array([0.9, 0.8], dtype=np.float32)

    assert np.float64(np.float32(7) / np.float32(10)) < 0.7
    assert non_maximum_suppression(boxes, scores, 0.7).tolist() == [0, 1]
    assert non_maximum_suppression(boxes, scores, 0.69999998).tolist() == [0]  # rounds up to it


def test_empty_boxes_suppress_nothing() -> None:
    boxes = np.zeros((2, 4), dtype=np.float32)

    assert non_maximum_suppression(boxes, np.array([0.1, 0.2], dtype=np.float32), 0.5).tolist() == [1, 0]


def test_of_no_boxes_none_are_kept() -> None:
    assert non_maximum_suppression(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.5).tolist() == []


def test_suppression_with_a_limit_gives_the_first_of_all_that_stay() -> None:
    random = np.random.default_rng(4)
    corners = random.uniform(0, 50, (200, 2))
    boxes = np.concatenate([corners, corners + random.uniform(5, 30, (200, 2))], axis=1).astype(np.float32)
    scores = random.random(200, dtype=np.float32)

    kept = non_maximum_suppression(boxes, scores, 0.5)

    assert len(kept) > 20
    for limit in (0, 7, 1000):
        assert np.array_equal(non_maximum_suppression(boxes, scores, 0.5, limit), kept[:limit])


def suppressed_one_by_one(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], iou_threshold: float
) -> list[np.intp]:
    """Return what stays, by the definition: a box stays unless one that stays overlaps it."""
    kept: list[np.intp] = []
    for index in np.argsort(-scores, kind="stable"):
        with np.errstate(invalid="ignore"):
            overlaps = box_iou(boxes[index], boxes[kept]).astype(np.float64)
        if not (overlaps > iou_threshold).any():
            kept.append(index)
    return kept


@pytest.mark.parametrize("iou_threshold", [0.0, 0.3, 0.7, 1.0])
def test_many_boxes_are_suppressed_as_if_each_was_compared_with_those_before(iou_threshold: float) -> None:
    random = np.random.default_rng(5)
    corners = random.integers(0, 60, (3 * SUPPRESSED_AT_ONCE + 7, 2))
    boxes = np.concatenate([corners, corners + random.integers(0, 40, corners.shape)], axis=1).astype(np.float32)
    boxes[::50] = 0  # empty ones, whose IoU with each other is not a number
    scores = random.integers(0, 100, len(boxes)).astype(np.float32)  # many are equal

    kept = non_maximum_suppression(boxes, scores, iou_threshold)

    assert kept.tolist() == suppressed_one_by_one(boxes, scores, iou_threshold)
    assert non_maximum_suppression(boxes, scores, iou_threshold, 20).tolist() == kept[:20].tolist()
