"""Drawing of masks and prompts over an image."""

import colorsys
from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from sam_model.masks.coco_rle import RunLengths
from sam_model.types import Image, Mask, Prompt

Colour = tuple[int, int, int]
WHITE: Colour = (255, 255, 255)
POSITIVE: Colour = (0, 170, 60)
NEGATIVE: Colour = (220, 30, 30)
BOX: Colour = (0, 110, 255)
GOLDEN_ANGLE = 0.381966  # of a full turn: consecutive hues differ strongly, however many there are


def mask_colour(index: int) -> Colour:
    """Return the RGB colour of the mask with number `index`."""
    red, green, blue = colorsys.hsv_to_rgb((0.58 + index * GOLDEN_ANGLE) % 1, 0.85, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_overlay(
    image: Image,
    masks: Sequence[RunLengths],
    prompts: Iterable[Prompt] = (),
    opacity: float = 0.45,
    colours: Sequence[Colour] | None = None,
) -> Image:
    """Return a copy of an image with masks in colours, large masks below small ones, and prompts on top.

    Args:
        image: RGB uint8 (H, W, 3).
        masks: masks of the image's size.
        prompts: points and boxes to draw.
        opacity: of the masks, 0..1.
        colours: RGB colour of each mask; None for different ones.
    """
    canvas = np.ascontiguousarray(image).copy()
    line = max(1, round(max(image.shape[:2]) / 500))
    for index in sorted(range(len(masks)), key=lambda index: -masks[index].area):
        colour = mask_colour(index) if colours is None else colours[index]
        _draw_mask(canvas, masks[index].mask, colour, opacity, line)
    for prompt in prompts:
        _draw_prompt(canvas, prompt, line)
    return canvas


def _draw_mask(canvas: Image, mask: Mask, colour: Colour, opacity: float, line: int) -> None:
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    part, inside = canvas[y : y + height, x : x + width], mask[y : y + height, x : x + width]
    part[inside] = (part[inside] * (1 - opacity) + np.array(colour) * opacity).astype(np.uint8)
    contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, contours, -1, WHITE, line + 1, cv2.LINE_AA)
    cv2.drawContours(canvas, contours, -1, colour, line, cv2.LINE_AA)


def _draw_prompt(canvas: Image, prompt: Prompt, line: int) -> None:
    if prompt.box is not None:
        x_min, y_min, x_max, y_max = (round(edge) for edge in prompt.box)
        cv2.rectangle(canvas, (x_min, y_min), (x_max, y_max), WHITE, line + 2, cv2.LINE_AA)
        cv2.rectangle(canvas, (x_min, y_min), (x_max, y_max), BOX, line, cv2.LINE_AA)
    for point in prompt.points:
        centre = int(point.x), int(point.y)
        cv2.circle(canvas, centre, 4 * line + 2, WHITE, cv2.FILLED, cv2.LINE_AA)
        cv2.circle(canvas, centre, 3 * line + 1, POSITIVE if point.is_positive else NEGATIVE, cv2.FILLED, cv2.LINE_AA)
