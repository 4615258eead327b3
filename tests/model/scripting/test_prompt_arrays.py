import numpy as np
import pytest
import torch

from sam_model.scripting.prompt_arrays import prompts_from_arrays
from sam_model.types import Point, Prompt

BOX = (439.0, 437.0, 524.0, 709.0)


def test_a_flat_point_is_one_click_on_one_object() -> None:
    assert prompts_from_arrays(points=[900, 370], labels=[1]) == [Prompt(points=(Point(900, 370),))]


def test_a_row_of_points_is_an_object_each() -> None:
    prompts = prompts_from_arrays(points=[[400, 370], [900, 370]], labels=[1, 1])

    assert prompts == [Prompt(points=(Point(400, 370),)), Prompt(points=(Point(900, 370),))]


def test_the_labels_of_a_row_of_points_may_have_one_more_bracket() -> None:
    prompts = prompts_from_arrays(points=[[400, 370], [900, 370]], labels=[[1, 0]])

    assert prompts == [
        Prompt(points=(Point(400, 370),)),
        Prompt(points=(Point(900, 370, is_positive=False),)),
    ]


def test_a_row_of_rows_is_an_object_with_several_clicks() -> None:
    prompts = prompts_from_arrays(points=[[[400, 370], [900, 370]]], labels=[[1, 0]])

    assert prompts == [Prompt(points=(Point(400, 370), Point(900, 370, is_positive=False)))]


def test_objects_may_have_their_own_number_of_clicks() -> None:
    prompts = prompts_from_arrays(points=[[[1, 2], [3, 4]], [[5, 6]]], labels=[[1, 0], [1]])

    assert [len(prompt.points) for prompt in prompts] == [2, 1]


@pytest.mark.parametrize("points", [[7, 8], [[7, 8]], [[[7, 8]]]])
def test_without_labels_all_clicks_are_on_the_object(points: list[object]) -> None:
    assert prompts_from_arrays(points=points) == [Prompt(points=(Point(7, 8),))]


def test_one_label_may_stand_without_brackets() -> None:
    assert prompts_from_arrays(points=[7, 8], labels=0) == [Prompt(points=(Point(7, 8, is_positive=False),))]


def test_arrays_and_tensors_are_as_good_as_lists() -> None:
    wanted = prompts_from_arrays(points=[[[1, 2], [3, 4]]], labels=[[1, 0]], bboxes=[[0, 1, 2, 3]])
    points, labels, boxes = np.array([[[1, 2], [3, 4]]]), np.array([[True, False]]), np.array([[0, 1, 2, 3]])

    assert prompts_from_arrays(points, labels, boxes) == wanted
    assert prompts_from_arrays(torch.from_numpy(points), torch.from_numpy(labels), torch.from_numpy(boxes)) == wanted


@pytest.mark.parametrize(("bboxes", "count"), [(BOX, 1), ([BOX], 1), ([BOX, BOX], 2)])
def test_each_box_is_an_object(bboxes: object, count: int) -> None:
    assert prompts_from_arrays(bboxes=bboxes) == [Prompt(box=BOX)] * count


@pytest.mark.parametrize("shape", [(256, 256), (1, 256, 256), (1, 1, 256, 256)])
def test_a_mask_input_has_one_shape_in_the_end(shape: tuple[int, ...]) -> None:
    (prompt,) = prompts_from_arrays(points=[1, 2], masks=np.full(shape, 3.0), multimask=True)

    assert prompt.mask_input is not None
    assert prompt.mask_input.shape == (256, 256)
    assert prompt.mask_input.dtype == np.float32
    assert prompt.multimask is True


def test_box_and_clicks_of_an_object_go_together() -> None:
    prompts = prompts_from_arrays(points=[[[1, 2], [3, 4]]], labels=[[1, 0]], bboxes=BOX)

    assert prompts == [Prompt(points=(Point(1, 2), Point(3, 4, is_positive=False)), box=BOX)]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "the prompt is empty"),
        ({"points": []}, r"points=\[\] is empty"),
        ({"points": [[]]}, "empty"),
        ({"points": [[[1, 2]], []], "labels": [[1], []]}, "points: an object has no points"),
        ({"points": [1]}, r"point \[1\]; needed: \(x, y\)"),
        ({"points": [1, 2, 3]}, r"point \[1, 2, 3\]"),
        ({"points": [[[[1, 2]]]]}, r"\(P, N, 2\)"),
        ({"points": ["a", "b"]}, "points=.*not an array of numbers"),
        ({"points": 5}, "points=5"),
        ({"labels": [1]}, r"labels=\[1\] without points"),
        ({"points": [1, 2], "labels": [1, 1]}, "1 points and 2 labels"),
        ({"points": [[1, 2], [3, 4]], "labels": [1]}, "labels for 1 objects and points for 2"),
        ({"points": [[1, 2], [3, 4]], "labels": [[1], [1]]}, r"labels=\[\[1\], \[1\]\]"),
        ({"points": [[[1, 2], [3, 4]]], "labels": [1, 1]}, r"labels=\[1, 1\]"),
        ({"points": [[[1, 2], [3, 4]]], "labels": [[1]]}, "2 points and 1 labels"),
        ({"points": [1, 2], "labels": [2]}, "label 2"),
        ({"points": [1, 2], "labels": [float("nan")]}, "label nan"),
        ({"points": [1, 2], "labels": []}, r"labels=\[\] is empty"),
        ({"bboxes": []}, r"bboxes has shape \(0,\)"),
        ({"bboxes": [1, 2, 3]}, r"box \[1.0, 2.0, 3.0\]"),
        ({"bboxes": [[[1, 2, 3, 4]]]}, r"bboxes has shape \(1, 1, 4\)"),
        ({"bboxes": [[1, 2, 3, 4], [1, 2]]}, "bboxes=.*not an array of numbers"),
        ({"masks": [1, 2]}, r"masks has shape \(2,\)"),
        ({"points": [[1, 2], [3, 4]], "bboxes": BOX}, "points for 2, bboxes for 1 objects"),
    ],
)
def test_what_makes_no_sense_is_named(arrays: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prompts_from_arrays(**arrays)
