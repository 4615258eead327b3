import numpy as np
import pytest

from sam_backend.demo.photos import Click
from sam_backend.demo.simulated_click import (
    WrongMaskError,
    check_mask,
    context_of,
    draw_click,
    mask_from_prediction,
)
from sam_backend.protocol.regions import KeyPoint, prompt_regions_from_json
from sam_backend.shapes.brush_rle import encode_mask

SIZE = (40, 80)  # height, width
CLICK = Click("a.jpg", "Plant", x=50, y=50, object_box=(25, 25, 75, 75))  # columns 20 to 60, rows 10 to 30


def mask_of(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=bool)
    mask[rows, columns] = True
    return mask


def test_the_click_is_sent_as_the_editor_sends_it() -> None:
    context = context_of(CLICK, SIZE)

    [region] = prompt_regions_from_json(context["result"])
    assert region.labels == ("Plant",)
    assert region.original_size == SIZE
    assert isinstance(region.shape, KeyPoint)
    assert (region.shape.x, region.shape.y, region.shape.is_positive) == (50, 50, True)


def test_the_mask_of_the_object_is_accepted() -> None:
    check_mask(mask_of(slice(10, 30), slice(20, 60)), CLICK)
    check_mask(mask_of(slice(12, 28), slice(24, 58)), CLICK)


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (mask_of(slice(0, 0), slice(0, 0)), "does not contain the click"),
        (mask_of(slice(10, 30), slice(20, 38)), "does not contain the click"),
        (mask_of(slice(18, 22), slice(38, 42)), "less than half"),
        (mask_of(slice(0, 40), slice(0, 80)), "lies outside the object"),
    ],
)
def test_a_mask_of_something_else_is_refused(mask: np.ndarray, reason: str) -> None:
    with pytest.raises(WrongMaskError, match=reason):
        check_mask(mask, CLICK)


def test_the_mask_is_read_from_the_brush_region() -> None:
    mask = mask_of(slice(5, 9), slice(30, 41))
    region = {"type": "brush", "value": {"format": "rle", "rle": encode_mask(mask)}}

    np.testing.assert_array_equal(mask_from_prediction({"result": [region]}, SIZE), mask)


def test_an_answer_without_a_mask_is_an_error() -> None:
    with pytest.raises(WrongMaskError, match="has no mask"):
        mask_from_prediction({"result": []}, SIZE)


def test_the_drawing_shows_the_mask_in_its_colour_and_the_click() -> None:
    image = np.full((*SIZE, 3), 200, dtype=np.uint8)

    drawing = np.asarray(draw_click(image, mask_of(slice(10, 30), slice(20, 60)), CLICK)).astype(int)

    assert drawing.shape == (80, 160, 3)
    inside, outside, click = drawing[30, 60], drawing[10, 10], drawing[40, 80]
    assert inside[2] > inside[0] + 50  # bluish
    assert outside[0] == outside[2] < 200  # grey, darker than it was
    assert click[1] > max(click[0], click[2])  # green
