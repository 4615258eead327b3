"""Prompts of the command line: --point and --box become `Prompt`s."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sam_model.types import Prompt


def prompts_from_options(points: Sequence[str], boxes: Sequence[str]) -> "tuple[Prompt, ...]":
    """Return one prompt with all points and an optional box, or else one prompt per box.

    Args:
        points: `X,Y` or `X,Y,1` on the object, `X,Y,0` beside it, in pixels.
        boxes: `X1,Y1,X2,Y2` in pixels.

    Raises:
        ValueError: a text is not numbers, a label is neither 0 nor 1, or there are points and several boxes.
    """
    from sam_model.types import Point, Prompt

    clicks = []
    for text in points:
        x, y, *label = _numbers(text, "--point", (2, 3))
        if label not in ([], [0.0], [1.0]):
            raise ValueError(f"--point {text}: the label must be 1 (positive) or 0 (negative)")
        clicks.append(Point(x, y, is_positive=label != [0.0]))
    corners = [(x_min, y_min, x_max, y_max) for x_min, y_min, x_max, y_max in _all_boxes(boxes)]
    if not clicks:
        return tuple(Prompt(box=box) for box in corners)
    if len(corners) > 1:
        raise ValueError(
            f"--point with {len(corners)} boxes: points belong to one object, which has one box; give one --box"
        )
    return (Prompt(points=tuple(clicks), box=corners[0] if corners else None),)


def check_inside(prompt: "Prompt", width: int, height: int) -> None:
    """Check that a prompt is inside an image, which not every segmenter does.

    Raises:
        ValueError: it is not; names the option.
    """
    for point in prompt.points:
        if not (0 <= point.x <= width and 0 <= point.y <= height):
            raise ValueError(f"--point {point.x:g},{point.y:g} is outside the image of {width} x {height} pixels")
    if prompt.box is not None:
        x_min, y_min, x_max, y_max = prompt.box
        named = ",".join(f"{edge:g}" for edge in prompt.box)
        if x_min >= x_max or y_min >= y_max:
            raise ValueError(f"--box {named} has no area; X1 must be less than X2, and Y1 less than Y2")
        if x_max <= 0 or y_max <= 0 or x_min >= width or y_min >= height:
            raise ValueError(f"--box {named} is outside the image of {width} x {height} pixels")


def _all_boxes(boxes: Sequence[str]) -> list[list[float]]:
    return [_numbers(text, "--box", (4,)) for text in boxes]


def _numbers(text: str, option: str, counts: tuple[int, ...]) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise ValueError(f"{option} {text}: not numbers separated by commas") from error
    if len(numbers) not in counts or not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"{option} {text}: needed: {' or '.join(str(count) for count in counts)} finite numbers")
    return numbers
