"""Masks are left out of a request before it is parsed, and nothing else."""

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies

from sam_backend.errors import BadRequestError
from sam_backend.protocol import mask_skipping
from sam_backend.protocol.mask_skipping import MIN_BYTES, without_masks
from sam_backend.protocol.requests import PredictRequest
from sam_testing.label_studio import key_point, predict_request

NUMBERS = list(range(256)) * 500
SEPARATORS = [(", ", ": "), (",", ":")]


def emptied(value: Any) -> Any:
    """Return the JSON value with the numbers in arrays called rle left out, as the standard parser sees it."""
    if isinstance(value, dict):
        return {name: [] if _is_mask(name, one) else emptied(one) for name, one in value.items()}
    return [emptied(one) for one in value] if isinstance(value, list) else value


def _is_mask(name: str, value: Any) -> bool:
    # a name may also end in `\"rle`: its text then holds the same bytes
    is_called_so = name == "rle" or name.endswith('"rle')
    return is_called_so and isinstance(value, list) and not any(isinstance(one, list | dict | str) for one in value)


@pytest.mark.parametrize("separators", SEPARATORS, ids=["spaces", "compact"])
def test_numbers_of_masks_are_left_out(separators: tuple[str, str]) -> None:
    task = {"rle": NUMBERS, "text": '"rle": [1, 2]', "other": NUMBERS, "nested": [{"rle": NUMBERS, "x": 1}]}

    text = without_masks(json.dumps(task, separators=separators).encode())

    assert json.loads(text) == emptied(task)


def test_short_bodies_and_bodies_without_masks_are_returned_as_they_are() -> None:
    short, other = b'{"rle": [1, 2, 3]}', json.dumps({"x": NUMBERS}).encode()

    assert without_masks(short) is short
    assert without_masks(other) is other


json_values = strategies.recursive(
    strategies.none()
    | strategies.integers(-5, 300)
    | strategies.sampled_from(['"rle": [1', "rle", "]", "[1", '\\"rle"']),
    lambda inner: (
        strategies.lists(inner, max_size=6)
        | strategies.dictionaries(strategies.sampled_from(["rle", "a", '"rle', 'rle": [', "\\"]), inner, max_size=4)
    ),
    max_leaves=30,
)


@given(json_values, strategies.sampled_from(SEPARATORS))
@settings(max_examples=300)
def test_only_arrays_of_numbers_called_rle_change_in_any_json(value: Any, separators: tuple[str, str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mask_skipping, "MIN_BYTES", 0)
        patch.setattr(mask_skipping, "MIN_ARRAY_BYTES", 0)
        text = without_masks(json.dumps(value, separators=separators).encode())

    assert json.loads(text) == emptied(value)


@pytest.mark.parametrize("body", [b"", b"[", b'{"rle": [1', b'"rle": [1, 2}', b'{"rle": [1,,2]}'])
def test_text_that_is_not_json_raises_no_other_error(body: bytes) -> None:
    padded = body + b" " * MIN_BYTES

    assert len(without_masks(padded)) <= len(padded)
    with pytest.raises(BadRequestError):
        PredictRequest.from_json(padded)


def test_a_click_on_a_task_with_many_masks_is_read_as_one_without() -> None:
    request = predict_request([key_point(50, 50)])
    plain = PredictRequest.from_json(json.dumps(request).encode())
    region = {"id": "r", "type": "brushlabels", "value": {"rle": NUMBERS, "format": "rle"}}
    request["tasks"][0]["annotations"] = [{"result": [region] * 5}]

    found = PredictRequest.from_json(json.dumps(request).encode())

    assert found.context == plain.context
    assert found.tasks[0].id == plain.tasks[0].id
