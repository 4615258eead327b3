"""A click as Label Studio's editor sends it, and a check of the returned mask."""

import secrets
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw

from sam_backend.demo.photos import Click
from sam_backend.shapes.brush_rle import decode_mask
from sam_model.types import Image as RgbImage
from sam_model.types import Mask

MASK_COLOUR = (10, 132, 255)  # the label's, in examples/labeling_configs
DRAWING_SCALE = 2  # the drawing is finer than the photograph, so that lines look smooth


class WrongMaskError(Exception):
    """The mask does not match the object under the click; the message names the difference."""


def context_of(click: Click, size: tuple[int, int]) -> dict[str, Any]:
    """The `context` that the editor sends for one click on an image of `size` (height, width), with a <Labels> palette.

    There a prompt is two results with one id: the point and its label (label-studio 1.23.2).
    """
    height, width = size
    common = {
        "id": secrets.token_urlsafe(7)[:10],
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "origin": "manual",
        "is_positive": True,
        "value": {"x": click.x, "y": click.y, "width": 0.25, "labels": [click.label]},
    }
    return {
        "result": [
            {**common, "from_name": "point", "type": "keypoint"},
            {**common, "from_name": "label", "type": "labels"},
        ]
    }


def mask_from_prediction(prediction: dict[str, Any], size: tuple[int, int]) -> Mask:
    """The mask (H, W) of the prediction's brush region.

    Raises:
        WrongMaskError: it holds none.
    """
    height, width = size
    for region in prediction.get("result", []):
        value = region.get("value", {})
        if value.get("format") == "rle":
            return decode_mask(value["rle"], height, width)
    raise WrongMaskError("the answer to the click has no mask")


def check_mask(mask: Mask, click: Click) -> None:
    """Return whether `mask` (H, W) is that of the object: holds the click, fills the object's box, keeps within it.

    Raises:
        WrongMaskError: it is not.
    """
    height, width = mask.shape
    x_min, y_min, x_max, y_max = click.object_box
    columns = slice(round(x_min / 100 * width), round(x_max / 100 * width))
    rows = slice(round(y_min / 100 * height), round(y_max / 100 * height))
    area = int(mask.sum())
    inside = int(mask[rows, columns].sum())
    box_area = (rows.stop - rows.start) * (columns.stop - columns.start)
    if not mask[int(click.y / 100 * height), int(click.x / 100 * width)]:
        raise WrongMaskError(f"the mask of {area} pixels does not contain the click")
    if inside < 0.5 * box_area:
        raise WrongMaskError(f"the mask fills {inside / box_area:.0%} of the object's box, less than half")
    if inside < 0.8 * area:
        raise WrongMaskError(f"{1 - inside / area:.0%} of the mask lies outside the object")


def draw_click(image: RgbImage, mask: Mask, click: Click) -> Image.Image:
    """The photograph (H, W, 3) with the mask (H, W) over it, its outline, and the click."""
    size = (image.shape[1] * DRAWING_SCALE, image.shape[0] * DRAWING_SCALE)
    photo = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.8)
    large = cv2.resize(soft, size, interpolation=cv2.INTER_CUBIC) > 0.5
    tinted = photo * 0.55 + np.array(MASK_COLOUR) * 0.45
    dimmed = photo * 0.72  # what is not the object steps back
    drawing = np.where(large[..., None], tinted, dimmed).astype(np.uint8)
    outlines, _ = cv2.findContours(large.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawing, outlines, -1, (255, 255, 255), 4, cv2.LINE_AA)
    cv2.drawContours(drawing, outlines, -1, MASK_COLOUR, 2, cv2.LINE_AA)
    overlay = Image.fromarray(drawing)
    x, y = click.x / 100 * size[0], click.y / 100 * size[1]
    pen = ImageDraw.Draw(overlay)
    for radius, colour in ((11, "white"), (8, "#1c7c3c")):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return overlay
