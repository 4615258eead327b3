"""A contact sheet: thumbnails of annotated images with their masks."""

from collections.abc import Sequence

import cv2
import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from sam_model.annotation.annotated_image import AnnotatedImage, AnnotatedObject
from sam_model.masks.overlay import Colour, mask_colour
from sam_model.types import Image

TILE = (320, 240)  # maximum width and height of a thumbnail in pixels
CAPTION_HEIGHT, GAP, MARGIN, HEAD = 40, 18, 28, 64  # pixels
PAPER, INK, PALE, FRAME = (250, 250, 248), (32, 34, 38), (120, 124, 130), (225, 225, 222)
OPACITY = 0.45
MAX_COLUMNS = 5
MAX_IMAGES = 60  # on a sheet; of a larger run, the first ones


class ContactSheet:
    """Collects thumbnails, then draws the sheet."""

    def __init__(self, class_names: Sequence[str]) -> None:
        self._colours = {name: mask_colour(number) for number, name in enumerate(class_names)}
        self._tiles: list[tuple[AnnotatedImage, PIL.Image.Image]] = []

    @property
    def is_full(self) -> bool:
        """Return whether further images would not be shown."""
        return len(self._tiles) >= MAX_IMAGES

    def add(self, image: Image, annotated: AnnotatedImage) -> None:
        """Add the thumbnail of an image (H, W, 3) with its annotations."""
        height, width = image.shape[:2]
        scale = min(TILE[0] / width, TILE[1] / height)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        for one in sorted(annotated.objects, key=lambda one: -one.mask.area):
            _draw_mask(small, one, self._colours[one.class_name])
        tile = PIL.Image.fromarray(np.asarray(small, np.uint8))
        draw = PIL.ImageDraw.Draw(tile)
        for one in reversed(annotated.objects):  # the highest-scoring one on top
            _draw_label(draw, one, self._colours[one.class_name], scale, size)
        self._tiles.append((annotated, tile))

    def draw(self, title: str) -> PIL.Image.Image:
        """Return the sheet as an image."""
        squarish = max(2, min(MAX_COLUMNS - 1, round((len(self._tiles) * 1.3) ** 0.5)))
        columns = min(squarish, squarish + 1, key=lambda count: -len(self._tiles) % count)  # the fewest empty cells
        rows = -(-len(self._tiles) // columns)
        cell = TILE[0] + GAP, TILE[1] + CAPTION_HEIGHT + GAP
        size = 2 * MARGIN - GAP + columns * cell[0], HEAD + MARGIN - GAP + rows * cell[1] + MARGIN // 2
        sheet = PIL.Image.new("RGB", size, PAPER)
        draw = PIL.ImageDraw.Draw(sheet)
        draw.text((MARGIN, HEAD // 2 + 2), title, INK, PIL.ImageFont.load_default(22), anchor="lm")
        self._draw_legend(draw, size[0] - MARGIN)
        for index, (annotated, tile) in enumerate(self._tiles):
            x, y = MARGIN + index % columns * cell[0], HEAD + index // columns * cell[1]
            draw.rectangle((x, y, x + TILE[0] - 1, y + TILE[1] - 1), fill=FRAME)
            sheet.paste(tile, (x + (TILE[0] - tile.width) // 2, y + (TILE[1] - tile.height) // 2))
            draw.text((x, y + TILE[1] + 6), _fitting(draw, annotated.name, TILE[0], 15), INK, _font(15))
            draw.text((x, y + TILE[1] + 24), _caption(annotated), PALE, _font(12))
        return sheet

    def _draw_legend(self, draw: PIL.ImageDraw.ImageDraw, right: int) -> None:
        found = {one.class_name for annotated, _ in self._tiles for one in annotated.objects}
        for name in reversed([name for name in self._colours if name in found][:8]):
            right -= round(draw.textlength(name, _font(15)))
            draw.text((right, HEAD // 2 + 2), name, INK, _font(15), anchor="lm")
            right -= 20
            draw.rounded_rectangle((right, HEAD // 2 - 5, right + 13, HEAD // 2 + 8), 3, fill=self._colours[name])
            right -= 18


def _draw_mask(small: "cv2.typing.MatLike", one: AnnotatedObject, colour: Colour) -> None:
    height, width = small.shape[:2]
    share = cv2.resize(one.mask.mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)[..., None]
    small[:] = (small * (1 - OPACITY * share) + np.array(colour) * (OPACITY * share)).astype(np.uint8)
    contours, _ = cv2.findContours((share[..., 0] >= 0.5).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(small, contours, -1, colour, 2, cv2.LINE_AA)


def _draw_label(
    draw: PIL.ImageDraw.ImageDraw, one: AnnotatedObject, colour: Colour, scale: float, size: tuple[int, int]
) -> None:
    """Draw class and score on the class's colour, at the upper left corner of the box."""
    text = f"{one.class_name} {one.score:.2f}"
    width, height = round(draw.textlength(text, _font(11))) + 8, 15
    x = min(max(0, round(one.box[0] * scale)), max(0, size[0] - width))
    y = min(max(0, round(one.box[1] * scale) - height), max(0, size[1] - height))
    is_light = sum(share * part for share, part in zip((0.299, 0.587, 0.114), colour, strict=True)) > 140
    draw.rounded_rectangle((x, y, x + width, y + height), 3, fill=colour)
    draw.text((x + 4, y + height / 2), text, INK if is_light else (255, 255, 255), _font(11), anchor="lm")


def _caption(annotated: AnnotatedImage) -> str:
    counts: dict[str, int] = {}
    for one in annotated.objects:
        counts[one.class_name] = counts.get(one.class_name, 0) + 1
    return ", ".join(f"{name}: {count}" for name, count in counts.items()) or "nothing found"


def _fitting(draw: PIL.ImageDraw.ImageDraw, text: str, width: int, size: int) -> str:
    """Shorten a text that is too wide to its end, since file names differ there."""
    shown = text
    while len(shown) > 1 and draw.textlength(shown, _font(size)) > width:
        shown = "…" + shown.removeprefix("…")[1:]
    return shown


def _font(size: int) -> "PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont":
    return PIL.ImageFont.load_default(size)
