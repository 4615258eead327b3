"""Prompts as scripts write them - nested lists or arrays - to `Prompt`s.

How deep `points` is nested says what it means, as in the SAM documentation: (2,) is one object by one click,
(P, 2) are P objects by one click each, (P, N, 2) are P objects by N clicks each; lists may have an N of their own for
each object. `labels` is nested once less.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sam_model.types import Box, Point, Prompt

Nested = ArrayLike | Sequence[Any]


def prompts_from_arrays(
    points: Nested | None = None,
    labels: Nested | None = None,
    bboxes: Nested | None = None,
    masks: Nested | None = None,
    multimask: bool | None = None,
) -> list[Prompt]:
    """One prompt an object, from whatever is given of each.

    Args:
        points: clicks in pixels, x before y: (2,), (P, 2) or (P, N, 2).
        labels: 1 on the object and 0 beside it, nested once less than `points`; all on the object when None.
        bboxes: boxes (x_min, y_min, x_max, y_max) in pixels: (4,) or (P, 4).
        masks: low-resolution logits of earlier answers: (h, w), (P, h, w) or (P, 1, h, w).
        multimask: ask for several candidates; None leaves it to the segmenter.

    Raises:
        ValueError: nothing is given, something is empty, no number, of another shape, or for another number of objects.
    """
    if points is None and labels is not None:
        raise ValueError(f"labels={labels!r} without points; each label belongs to a point")
    given: dict[str, list[Any]] = {}
    if points is not None:
        given["points"] = _clicks(points, labels)
    if bboxes is not None:
        given["bboxes"] = [_box(row) for row in _rows(bboxes, "bboxes", 1, "(4,) or (P, 4)")]
    if masks is not None:
        given["masks"] = _mask_inputs(masks)
    if not given:
        raise ValueError("the prompt is empty: it needs points, bboxes or masks")
    counts = {name: len(values) for name, values in given.items()}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{name} for {count}" for name, count in counts.items())
        raise ValueError(f"{said} objects; needed: the same number of each")
    count = next(iter(counts.values()))
    nothing = [None] * count
    return [
        Prompt(points=clicks or (), box=box, mask_input=mask_input, multimask=multimask)
        for clicks, box, mask_input in zip(
            given.get("points", nothing), given.get("bboxes", nothing), given.get("masks", nothing), strict=True
        )
    ]


def _clicks(points: Nested, labels: Nested | None) -> list[tuple[Point, ...]]:
    """The clicks of each object."""
    depth = _depth(points, "points")
    if depth not in (1, 2, 3):
        raise ValueError(f"points={points!r}: needed: (2,), (P, 2) or (P, N, 2)")
    if depth == 1:
        objects: list[Any] = [[points]]
    else:
        objects = [[point] for point in _items(points)] if depth == 2 else _items(points)
    if labels is None:
        signs: list[Any] = [[1] * len(clicks) for clicks in objects]
    elif depth == 1:
        signs = [[labels] if _depth(labels, "labels") == 0 else labels]
    elif _depth(labels, "labels") != depth - 1:
        raise ValueError(f"labels={labels!r}: needed: {'one a point' if depth == 2 else 'a list of them an object'}")
    else:
        signs = [[label] for label in _items(labels)] if depth == 2 else _items(labels)
    if len(signs) != len(objects):
        raise ValueError(f"labels for {len(signs)} objects and points for {len(objects)}: needed: one label a point")
    return [_object_clicks(clicks, sign) for clicks, sign in zip(objects, signs, strict=True)]


def _object_clicks(clicks: Sequence[Any], labels: Sequence[Any]) -> tuple[Point, ...]:
    if len(clicks) == 0:
        raise ValueError("points: an object without a point")
    if len(clicks) != len(labels):
        raise ValueError(f"{len(clicks)} points and {len(labels)} labels: needed: one label a point")
    return tuple(_point(click, label) for click, label in zip(clicks, labels, strict=True))


def _point(click: Any, label: Any) -> Point:
    numbers = _numbers(click, "points")
    if numbers.shape != (2,):
        raise ValueError(f"point {click!r}: needed: (x, y)")
    sign = _numbers(label, "labels")
    if sign.ndim or sign not in (0, 1):
        raise ValueError(f"label {label!r}: needed: 1 (on the object) or 0 (beside it)")
    return Point(float(numbers[0]), float(numbers[1]), is_positive=bool(sign))


def _box(row: NDArray[np.float64]) -> Box:
    if row.shape != (4,):
        raise ValueError(f"box {row.tolist()}: needed: (x_min, y_min, x_max, y_max)")
    x_min, y_min, x_max, y_max = row.tolist()
    return x_min, y_min, x_max, y_max


def _mask_inputs(masks: Nested) -> list[NDArray[np.float32]]:
    rows = _rows(masks, "masks", 2, "(h, w), (P, h, w) or (P, 1, h, w) logits")
    return [
        row.reshape(row.shape[-2:]).astype(np.float32) if row.shape[0] == 1 else row.astype(np.float32) for row in rows
    ]


def _rows(value: Nested, name: str, row_ndim: int, shapes: str) -> list[NDArray[np.float64]]:
    array = _numbers(value, name)
    if array.ndim == 4 and row_ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim not in (row_ndim, row_ndim + 1) or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}; needed: {shapes}")
    return [array] if array.ndim == row_ndim else list(array)


def _numbers(value: Any, name: str) -> NDArray[np.float64]:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}={value!r}: not numbers in equal rows") from error


def _depth(value: Any, name: str) -> int:
    """How deep the lists or arrays are nested; that of the first item."""
    if isinstance(value, str) or not hasattr(value, "__len__") or getattr(value, "ndim", 1) == 0:
        return 0
    if len(value) == 0:
        raise ValueError(f"{name}={value!r} is empty")
    return 1 + _depth(value[0], name)


def _items(value: Any) -> list[Any]:
    return list(value)
