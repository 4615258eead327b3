import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sam_model.yolo.decode import Objects
from sam_model.yolo.letterbox import letterbox
from sam_model.yolo.masks import masks_in_input, masks_of

FRAME = letterbox((64, 64), 64)


def objects_with(prototypes: np.ndarray, boxes: list[list[float]], coefficients: list[list[float]]) -> Objects:
    count = len(boxes)
    return Objects(
        boxes=np.array(boxes, np.float32),
        scores=np.ones(count, np.float32),
        class_ids=np.zeros(count, np.intp),
        coefficients=np.array(coefficients, np.float32),
        prototypes=prototypes.astype(np.float32),
        input_boxes=np.array(boxes, np.float32),
    )


def test_a_mask_is_the_combination_of_prototypes_cropped_to_the_box() -> None:
    left = np.full((16, 16), -1.0)
    left[:, :8] = 1
    objects = objects_with(
        np.stack([left, np.full((16, 16), 0.5)]), [[8, 4, 64, 60], [0, 0, 64, 64], [2.4, 0, 3.6, 64], [3.4, 0, 3.6, 9]],
        [[1, 0], [-1, 4], [1, 0], [1, 0]],
    )  # fmt: skip

    cropped, combined, narrow, empty = masks_of(objects, FRAME)

    expected = np.zeros((64, 64), dtype=bool)
    expected[4:60, 8:32] = True
    assert np.array_equal(cropped, expected)
    assert combined.all()  # -1 + 2 and 1 + 2
    assert narrow[:, 3].all()  # column 3 starts in the box
    assert narrow.sum() == 64
    assert not empty.any()  # no column starts between 3.4 and 3.6


# the borders of the input end between cells, between half cells and between quarters of them
@pytest.mark.parametrize("image_size", [(64, 64), (100, 300), (300, 100), (31, 31), (72, 96), (78, 96), (77, 99)])
@pytest.mark.parametrize("box", [(0.2, 0.1, 0.9, 0.7), (0.0, 0.0, 1.0, 1.0), (0.45, 0.6, 0.5, 0.64)])
def test_a_mask_is_what_pytorch_interpolates(
    image_size: tuple[int, int], box: tuple[float, float, float, float]
) -> None:
    frame = letterbox(image_size, 96)
    prototypes = np.random.default_rng(0).normal(size=(2, frame.size[0] // 4, frame.size[1] // 4))
    height, width = image_size
    x_min, y_min, x_max, y_max = np.array(box) * np.array([width, height] * 2)

    mask = next(masks_of(objects_with(prototypes, [[x_min, y_min, x_max, y_max]], [[1, -0.5]]), frame))

    combination = torch.from_numpy(prototypes[0] - 0.5 * prototypes[1]).float()[None, None]
    factor = next(
        one
        for one in (1, 2, 4)  # the first with which the borders are whole pixels
        if not any(
            side * one % 4 for side in (frame.top, frame.left, frame.size[0] - frame.inner_size[0],
                                           frame.size[1] - frame.inner_size[1])
        )
    )  # fmt: skip
    fine = F.interpolate(combination, scale_factor=factor, mode="bilinear") if factor > 1 else combination
    top, left, inner_height, inner_width = (side * factor // 4 for side in (frame.top, frame.left, *frame.inner_size))
    inner = fine[..., top : top + inner_height, left : left + inner_width]
    logits = F.interpolate(inner, image_size, mode="bilinear")[0, 0].numpy()
    rows, columns = np.arange(height)[:, None], np.arange(width)
    is_inside = (rows >= y_min) & (rows < y_max) & (columns >= x_min) & (columns < x_max)
    is_clear = np.abs(logits) > 1e-5
    assert np.array_equal(mask[is_clear], ((logits > 0) & is_inside)[is_clear])
    assert is_clear.mean() > 0.99


def test_masks_at_the_input_s_resolution_include_the_grey_borders() -> None:
    frame = letterbox((50, 100), 96)  # 48 of 64 rows
    prototypes = np.random.default_rng(0).normal(size=(2, 16, 24))

    mask = next(masks_in_input(objects_with(prototypes, [[-3, 4.5, 80, 70]], [[1, -0.5]]), frame))

    combination = torch.from_numpy(prototypes[0] - 0.5 * prototypes[1]).float()[None, None]
    expected = F.interpolate(combination, (64, 96), mode="bilinear")[0, 0].numpy() > 0
    expected[:5] = expected[:, 80:] = False
    assert np.array_equal(mask, expected)
