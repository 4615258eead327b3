"""Conversion of nested lists and arrays to `Prompt`s.

As in Ultralytics' SAM documentation, the nesting of `points` decides what they mean: (2,) is one object with one point,
(P, 2) are P objects with one point each, and (P, N, 2) are P objects with N points each. In lists, N may differ between
objects. `labels` is nested one level less.
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
    """Return one prompt per object.

    Args:
        points: points in pixels, x before y: (2,), (P, 2) or (P, N, 2).
        labels: 1 on the object and 0 beside it, nested one level less than `points`; None for 1 everywhere.
        bboxes: boxes (x_min, y_min, x_max, y_max) in pixels: (4,) or (P, 4).
        masks: masks of any size, or low-resolution logits of earlier masks: (h, w), (P, h, w) or (P, 1, h, w).
        multimask: ask for several candidates; None leaves the choice to the segmenter.

    Raises:
        ValueError: there is no prompt, a value is empty or not a number, a shape is wrong, or the numbers of objects
            differ.
    """
    if points is None and labels is not None:
        raise ValueError(f"labels={labels!r} without points; each label belongs to a point")
    given: dict[str, list[Any]] = {}
    if points is not None:
        given["points"] = _points(points, labels)
    if bboxes is not None:
        given["bboxes"] = [_box(row) for row in _rows(bboxes, "bboxes", 1, "(4,) or (P, 4)")]
    if masks is not None:
        given["masks"] = _mask_inputs(masks)
    if not given:
        raise ValueError("the prompt is empty: it needs points, bboxes or masks")
    counts = {name: len(values) for name, values in given.items()}
    if len(set(counts.values())) > 1:
        given_counts = ", ".join(f"{name} for {count}" for name, count in counts.items())
        raise ValueError(f"{given_counts} objects; needed: the same number of each")
    count = next(iter(counts.values()))
    missing = [None] * count
    return [
        Prompt(points=object_points or (), box=box, mask_input=mask_input, multimask=multimask)
        for object_points, box, mask_input in zip(
            given.get("points", missing), given.get("bboxes", missing), given.get("masks", missing), strict=True
        )
    ]


def _points(points: Nested, labels: Nested | None) -> list[tuple[Point, ...]]:
    """Return the points of each object."""
    depth = _depth(points, "points")
    if depth not in (1, 2, 3):
        raise ValueError(f"points={points!r}: needed: (2,), (P, 2) or (P, N, 2)")
    if depth == 1:
        objects: list[Any] = [[points]]
    else:
        objects = [[point] for point in _items(points)] if depth == 2 else _items(points)
    if depth == 2 and labels is not None and _depth(labels, "labels") == 2 and len(_items(labels)) == 1:
        labels = _items(labels)[0]  # labels=[[1, 1]], as versions of the documentation have it
    if labels is None:
        signs: list[Any] = [[1] * len(object_points) for object_points in objects]
    elif depth == 1:
        signs = [[labels] if _depth(labels, "labels") == 0 else labels]
    elif _depth(labels, "labels") != depth - 1:
        raise ValueError(f"labels={labels!r}: needed: {'one per point' if depth == 2 else 'a list per object'}")
    else:
        signs = [[label] for label in _items(labels)] if depth == 2 else _items(labels)
    if len(signs) != len(objects):
        raise ValueError(f"labels for {len(signs)} objects and points for {len(objects)}; needed: one label per point")
    return [_object_points(object_points, sign) for object_points, sign in zip(objects, signs, strict=True)]


def _object_points(object_points: Sequence[Any], labels: Sequence[Any]) -> tuple[Point, ...]:
    if len(object_points) == 0:
        raise ValueError("points: an object has no points")
    if len(object_points) != len(labels):
        raise ValueError(f"{len(object_points)} points and {len(labels)} labels; needed: one label per point")
    return tuple(_point(point, label) for point, label in zip(object_points, labels, strict=True))


def _point(point: Any, label: Any) -> Point:
    numbers = _numbers(point, "points")
    if numbers.shape != (2,):
        raise ValueError(f"point {point!r}; needed: (x, y)")
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
    rows = _rows(masks, "masks", 2, "(h, w), (P, h, w) or (P, 1, h, w)")
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
        raise ValueError(f"{name}={value!r}: not an array of numbers") from error


def _depth(value: Any, name: str) -> int:
    """Return how deep lists or arrays are nested, going by the first item."""
    if isinstance(value, str) or not hasattr(value, "__len__") or getattr(value, "ndim", 1) == 0:
        return 0
    if len(value) == 0:
        raise ValueError(f"{name}={value!r} is empty")
    return 1 + _depth(value[0], name)


def _items(value: Any) -> list[Any]:
    return list(value)
