"""Validation of prompts, and their conversion to batches of tensors of the same shape."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam_model.types import Prompt


@dataclass(frozen=True)
class PromptBatch:
    """P prompts of the same shape, in pixels of the original image."""

    indices: tuple[int, ...]  # of the prompts in the list
    points: Tensor | None  # (P, N, 2) float64, x before y
    labels: Tensor | None  # (P, N) int64, 1 on the object and 0 beside it
    boxes: Tensor | None  # (P, 4) float64
    mask_inputs: Tensor | None  # (P, 1, low_res, low_res) float32
    multimask: bool
    is_best_only: bool  # of several masks, only the best is wanted of each prompt


def batch_prompts(
    prompts: Sequence[Prompt], image_size: tuple[int, int], low_res: int, limit: int
) -> Iterator[PromptBatch]:
    """Yield batches of at most `limit` prompts of equal shape.

    All prompts are checked before the first batch is returned.

    Raises:
        ValueError: a prompt is empty, has numbers that are not finite, a point or a box outside the image, a box
            without area, or a mask input of the wrong size.
    """
    groups: dict[tuple[int, bool, bool, bool], list[int]] = {}
    for index, prompt in enumerate(prompts):
        check_prompt(prompt, image_size, low_res)
        shape = (len(prompt.points), prompt.box is not None, prompt.mask_input is not None, wants_multimask(prompt))
        groups.setdefault(shape, []).append(index)
    return (
        _stack(prompts, indices[start : start + limit], low_res, multimask)
        for (_, _, _, multimask), indices in groups.items()
        for start in range(0, len(indices), limit)
    )


def wants_multimask(prompt: Prompt) -> bool:
    """Return whether three masks are computed: on request, or if the prompt is a single positive point."""
    if prompt.multimask is not None:
        return prompt.multimask
    is_single_point = len(prompt.points) == 1 and prompt.points[0].is_positive
    return is_single_point and prompt.box is None and prompt.mask_input is None


def check_prompt(prompt: Prompt, image_size: tuple[int, int], low_res: int) -> None:
    """Check a prompt for an image of `image_size`.

    Raises:
        ValueError: the prompt is empty, has numbers that are not finite, a point or a box outside the image, a box
            without area, or a mask input of the wrong size.
    """
    height, width = image_size
    if not prompt.points and prompt.box is None and prompt.mask_input is None:
        raise ValueError("the prompt is empty: it needs a point, a box or a mask input")
    for point in prompt.points:
        if not (0 <= point.x <= width and 0 <= point.y <= height):  # False for NaN, too
            raise ValueError(f"point ({point.x}, {point.y}) is outside the image of {width} x {height} pixels")
    if prompt.box is not None:
        check_box(prompt.box, image_size)
    if prompt.mask_input is not None:
        mask_input_map(prompt.mask_input, low_res)


def check_box(box: Sequence[float], image_size: tuple[int, int]) -> None:
    """Check that a box has an area and overlaps the image. Its corners may lie outside.

    Raises:
        ValueError: it has no area, does not overlap the image, or has numbers that are not finite.
    """
    height, width = image_size
    x_min, y_min, x_max, y_max = box
    if not all(math.isfinite(side) for side in box):
        raise ValueError(f"box {tuple(box)} has numbers that are not finite")
    if x_max <= x_min or y_max <= y_min:
        raise ValueError(f"box {tuple(box)} has no area; needed: x_min < x_max and y_min < y_max")
    if x_max <= 0 or y_max <= 0 or x_min >= width or y_min >= height:
        raise ValueError(f"box {tuple(box)} is outside the image of {width} x {height} pixels")


def mask_input_map(mask_input: NDArray[np.float32], low_res: int) -> NDArray[np.float32]:
    """Return a mask input as (1, low_res, low_res), from that shape or from (low_res, low_res).

    Raises:
        ValueError: it has another size, or numbers that are not finite.
    """
    values = np.asarray(mask_input, dtype=np.float32)
    if values.shape not in ((low_res, low_res), (1, low_res, low_res)):
        raise ValueError(
            f"mask input of shape {values.shape} does not fit; needed: the low_res_logits of an earlier mask,  "
            f"({low_res}, {low_res})"
        )
    if not np.isfinite(values).all():
        raise ValueError("the mask input has numbers that are not finite")
    return values.reshape(1, low_res, low_res)


def _stack(prompts: Sequence[Prompt], indices: Sequence[int], low_res: int, multimask: bool) -> PromptBatch:
    chosen = [prompts[index] for index in indices]
    points = labels = boxes = mask_inputs = None
    if chosen[0].points:
        points = torch.tensor([[(p.x, p.y) for p in prompt.points] for prompt in chosen], dtype=torch.float64)
        labels = torch.tensor([[int(p.is_positive) for p in prompt.points] for prompt in chosen])
    if chosen[0].box is not None:
        boxes = torch.tensor([prompt.box for prompt in chosen], dtype=torch.float64)
    maps = [mask_input_map(p.mask_input, low_res) for p in chosen if p.mask_input is not None]
    if maps:
        mask_inputs = torch.from_numpy(np.stack(maps))
    is_best_only = multimask and not any(prompt.multimask for prompt in chosen)
    return PromptBatch(tuple(indices), points, labels, boxes, mask_inputs, multimask, is_best_only)
