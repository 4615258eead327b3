"""Drawing of results over their image: masks, boxes, labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from sam_model.masks.coco_rle import RunLengths
from sam_model.masks.overlay import Colour, draw_overlay, mask_colour
from sam_model.scripting.boxes import Boxes
from sam_model.types import Image


@dataclass(frozen=True)
class PlotStyle:
    """What is drawn, and how; see `Results.plot`."""

    conf: bool = True
    labels: bool = True
    boxes: bool = True
    masks: bool = True
    line_width: float | None = None  # pixels
    font_size: float | None = None  # pixels
    font: str = "Arial.ttf"
    color_mode: str = "class"
    txt_color: Colour = (255, 255, 255)  # RGB

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: `color_mode` is unknown.
        """
        if self.color_mode not in ("class", "instance"):
            raise ValueError(f"color_mode={self.color_mode!r}; needed: 'class' or 'instance'")


def draw_results(
    image: Image, boxes: Boxes | None, masks: Sequence[RunLengths], names: dict[int, str], style: PlotStyle
) -> Image:
    """Return a copy of a BGR image (H, W, 3) with masks, boxes and labels drawn over it.

    Raises:
        ValueError: the masks have another size than the image.
    """
    for lengths in masks:
        if lengths.size != tuple(image.shape[:2]):
            raise ValueError(f"the image has shape {image.shape}; needed: that of the masks, {lengths.size}")
    arrays = None if boxes is None else boxes.numpy()
    count = len(masks) if arrays is None else len(arrays)
    keys = range(count) if arrays is None or style.color_mode == "instance" else arrays.cls.astype(int)
    colours = [mask_colour(int(key)) for key in keys]
    canvas = np.ascontiguousarray(image[..., ::-1])
    if style.masks and len(masks):
        canvas = draw_overlay(canvas, masks, colours=colours)
    if style.boxes and arrays is not None and count:
        texts = [
            _text(names[int(class_id)], float(score), style)
            for class_id, score in zip(arrays.cls, arrays.conf, strict=True)
        ]
        canvas = _draw_boxes(canvas, arrays.xyxy.round().astype(int).tolist(), texts, colours, style)
    return np.ascontiguousarray(canvas[..., ::-1])


def _text(name: str, score: float, style: PlotStyle) -> str:
    parts = ([name] if style.labels else []) + ([f"{score:.2f}"] if style.conf else [])
    return " ".join(parts)


def _draw_boxes(
    image: Image, boxes: list[list[int]], texts: list[str], colours: list[Colour], style: PlotStyle
) -> Image:
    """Draw boxes with their labels above them, the first one on top."""
    height, width = image.shape[:2]
    line = max(1, round(style.line_width or (height + width) / 2 * 0.003))
    font = _font(style.font, style.font_size or max((height + width) / 2 * 0.035 / 2, 12))
    canvas = image.copy()
    for (x_min, y_min, x_max, y_max), colour in reversed(list(zip(boxes, colours, strict=True))):
        cv2.rectangle(canvas, (x_min, y_min), (x_max, y_max), colour, line, cv2.LINE_AA)
    drawn = PIL.Image.fromarray(canvas)
    draw = PIL.ImageDraw.Draw(drawn)
    for (x_min, y_min, _, _), text, colour in reversed(list(zip(boxes, texts, colours, strict=True))):
        if text:
            left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
            text_width, text_height = right - left + 4, bottom - top + 4
            x = max(0, min(x_min, width - text_width))
            y = y_min - text_height if y_min >= text_height else y_min
            draw.rectangle((x, y, x + text_width, y + text_height), fill=colour)
            draw.text((x + 2 - left, y + 2 - top), text, fill=style.txt_color, font=font)
    return np.array(drawn)


def _font(name: str, size: float) -> PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont:
    try:
        return PIL.ImageFont.truetype(name, size)
    except OSError:
        return PIL.ImageFont.load_default(size)
