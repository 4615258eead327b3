from collections.abc import Callable

import numpy as np
import pytest
import torch

from sam_model.yolo.decode import decode, suppress
from sam_model.yolo.heads import RawDetections, cell_centres
from sam_model.yolo.letterbox import letterbox
from sam_model.yolo.masks import masks_of
from sam_model.yolo.sizes import YoloSize
from sam_model.yolo.yolo_v8 import yolo_v8

FRAME = letterbox((64, 64), 64)
LEFT, SHIFTED, RIGHT = [0.0, 0, 20, 20], [2.0, 0, 22, 20], [40.0, 0, 60, 20]  # the first two overlap by 0.82


def raw(boxes: list[list[float]], scores: list[list[float]]) -> RawDetections:
    return RawDetections(torch.tensor([boxes]), torch.tensor([scores]))


def test_cells_have_their_centres_in_the_middle_and_x_before_y() -> None:
    maps = tuple(torch.zeros(1, 1, 64 // stride, 96 // stride) for stride in (8, 16, 32))

    centres, strides = cell_centres(maps)

    assert (centres * strides)[:, 0].tolist() == [4, 4]
    assert (centres * strides)[:, 1].tolist() == [12, 4]
    assert (centres * strides)[:, 12].tolist() == [4, 12]  # 12 columns of 8 pixels
    assert (centres * strides)[:, 96].tolist() == [8, 8]
    assert (centres * strides)[:, -1].tolist() == [80, 48]


def test_an_edge_lies_at_the_mean_of_its_distances() -> None:
    head = yolo_v8(YoloSize("small", 0.1, 1 / 32, 256), classes=2, has_masks=False).eval().head
    with torch.no_grad():
        head.dfl.conv.weight.copy_(torch.arange(16.0).reshape(1, 16, 1, 1))
        for branch in head.branches(one_to_one=False).boxes:
            branch[-1].weight.zero_()
            bias = torch.full((4, 16), -50.0)
            bias[0, 1] = bias[1, 2] = bias[2, 3] = bias[3, 4] = 50.0  # left, top, right, bottom
            bias[2, 5] = 50.0  # 3 or 5 strides, equally likely: 4
            branch[-1].bias.copy_(bias.flatten())

    maps = tuple(torch.zeros(1, 8, 32 // stride, 32 // stride) for stride in (8, 16, 32))
    found = head.detections(head(maps), (32, 32))

    assert found.boxes.shape == (1, 16 + 4 + 1, 4)
    assert found.boxes[0, 0].tolist() == pytest.approx([4 - 8, 4 - 16, 4 + 32, 4 + 32])
    assert found.boxes[0, -1].tolist() == pytest.approx([16 - 32, 16 - 64, 16 + 128, 16 + 128])


def test_a_score_must_be_above_the_threshold_and_the_likeliest_class_counts() -> None:
    found = decode(raw([LEFT, RIGHT], [[0.2, 0.6], [0.5, 0.1]]), FRAME, 0.5, 0.7, 10)

    assert found.class_ids.tolist() == [1]
    assert found.scores.tolist() == pytest.approx([0.6])
    assert found.boxes.tolist() == [LEFT]


def test_of_two_that_overlap_the_higher_scoring_one_stays() -> None:
    found = decode(raw([LEFT, SHIFTED, RIGHT], [[0.6, 0], [0.9, 0], [0.3, 0]]), FRAME, 0.1, 0.7, 10)

    assert found.scores.tolist() == pytest.approx([0.9, 0.3])


@pytest.mark.parametrize(("is_class_agnostic", "count"), [(False, 2), (True, 1)])
def test_other_classes_suppress_only_where_classes_do_not_matter(is_class_agnostic: bool, count: int) -> None:
    answer = raw([LEFT, SHIFTED], [[0.6, 0], [0, 0.9]])

    assert len(decode(answer, FRAME, 0.1, 0.7, 10, is_class_agnostic=is_class_agnostic).scores) == count


def test_no_more_are_kept_than_asked_for() -> None:
    assert decode(raw([LEFT, RIGHT], [[0.6], [0.9]]), FRAME, 0.1, 0.7, 1).scores.tolist() == pytest.approx([0.9])


def test_nothing_found_is_an_empty_answer() -> None:
    found = decode(raw([LEFT], [[0.1]]), FRAME, 0.5, 0.7, 10)

    assert found.boxes.shape == (0, 4)
    assert list(masks_of(found, FRAME)) == []


def test_boxes_left_of_the_image_are_kept_apart_by_class_as_well() -> None:
    boxes = np.array([[-90, -90, -10, -10], [-90, -90, -10, -10], [-80, -90, 0, -10]], dtype=np.float32)

    kept = suppress(boxes, np.array([0.9, 0.8, 0.7], np.float32), np.array([0, 1, 0]), 0.7)

    assert kept.tolist() == [0, 1]


def one_to_one(boxes: list[list[float]], scores: list[list[float]]) -> RawDetections:
    return RawDetections(torch.tensor([boxes]), torch.tensor([scores]), is_one_to_one=True)


def test_of_a_one_to_one_head_nothing_is_suppressed_and_a_cell_may_have_two_classes() -> None:
    found = decode(one_to_one([LEFT, SHIFTED], [[0.6, 0.5], [0.9, 0.1]]), FRAME, 0.3, 0.7, 10)

    assert found.scores.tolist() == pytest.approx([0.9, 0.6])  # as many pairs as there are cells
    assert found.boxes.tolist() == [SHIFTED, LEFT]


def test_of_a_one_to_one_head_a_cell_has_one_class_where_classes_do_not_matter() -> None:
    raw = one_to_one([LEFT, SHIFTED], [[0.6, 0.5], [0.2, 0.4]])

    assert decode(raw, FRAME, 0.3, 0.7, 10).class_ids.tolist() == [0, 1]
    assert decode(raw, FRAME, 0.3, 0.7, 10, is_class_agnostic=True).scores.tolist() == pytest.approx([0.6, 0.4])
    assert decode(raw, FRAME, 0.3, 0.7, 1).scores.tolist() == pytest.approx([0.6])


@pytest.mark.parametrize("head", [raw, one_to_one])
def test_classes_that_are_not_wanted_neither_suppress_nor_count(head: Callable[..., RawDetections]) -> None:
    answer = head([LEFT, SHIFTED, RIGHT], [[0.9, 0], [0, 0.6], [0, 0.5]])

    found = decode(answer, FRAME, 0.1, 0.7, 2, is_class_agnostic=True, wanted_ids={1})

    assert found.scores.tolist() == pytest.approx([0.6, 0.5])
    assert len(decode(answer, FRAME, 0.1, 0.7, 2, wanted_ids=set()).scores) == 0
