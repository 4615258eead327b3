"""A region -> its mask: the inverse of the other files of this folder."""

import base64
import binascii
import io
import math

import cv2
import numpy as np
from PIL import Image as PillowImage

from sam_backend.errors import BadRequestError
from sam_backend.protocol.task_regions import DrawnRegion, RegionValue
from sam_backend.protocol.typed_json import decoded
from sam_backend.shapes.brush_rle import decode_mask
from sam_model.masks.fill import fill_outlines
from sam_model.masks.polygons import Outline
from sam_model.types import Mask

ELLIPSE_DEGREES = 3  # of each edge of the polygon that replaces an ellipse
PNG = "data:image/png;base64,"


def mask_from_region(region: DrawnRegion) -> Mask | None:
    """Return the mask (H, W) of a region; None if its value has no area, or cannot be read."""
    try:
        return mask_from_value(decoded(region.value, RegionValue), region.size)
    except BadRequestError:
        return None


def mask_from_value(value: RegionValue, size: tuple[int, int]) -> Mask | None:
    """Return the mask (H, W) of a region's value; None if it has no area, or its run lengths or PNG cannot be read."""
    try:
        if value.rle is not None:
            return decode_mask(value.rle, *size)
        if value.imageDataURL is not None:
            return _mask_from_png(value.imageDataURL, size)
    except (ValueError, OSError):
        return None
    outline = _outline(value, size)
    if len(outline) < 3:
        return None
    return fill_outlines([outline], size)


def _outline(value: RegionValue, size: tuple[int, int]) -> Outline:
    """Return the outline (N, 2) in pixels of a polygon, a vector, a rectangle or an ellipse; empty for others."""
    height, width = size
    scale = np.array([width / 100, height / 100], np.float32)
    percent: Outline = np.empty((0, 2), np.float32)
    turn, corner = 0.0, np.zeros(2, np.float32)
    if value.points is not None:
        percent = np.array(value.points, np.float32).reshape(-1, 2)
    elif value.vertices is not None:
        percent = np.array([(vertex.x, vertex.y) for vertex in value.vertices], np.float32).reshape(-1, 2)
    else:
        turn, corner[:] = math.radians(value.rotation), (value.x, value.y)
        percent = _around_corner(value)
    cos, sin = math.cos(turn), math.sin(turn)
    outline: Outline = (percent * scale) @ np.array([(cos, sin), (-sin, cos)], np.float32) + corner * scale
    return outline


def _around_corner(value: RegionValue) -> Outline:
    """Return a rectangle or an ellipse (N, 2) in percent, as seen from its corner or center, before its rotation."""
    if value.radiusX is not None and value.radiusY is not None:
        angles = np.radians(np.arange(0, 360, ELLIPSE_DEGREES))
        circle = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
        return circle * np.array([value.radiusX, value.radiusY], np.float32)
    if value.width is not None and value.height is not None:
        far_x, far_y = value.width, value.height
        return np.array([(0, 0), (far_x, 0), (far_x, far_y), (0, far_y)], np.float32)
    return np.empty((0, 2), np.float32)


def _mask_from_png(url: str, size: tuple[int, int]) -> Mask | None:
    if not url.startswith(PNG):
        return None
    try:
        file = io.BytesIO(base64.b64decode(url.removeprefix(PNG), validate=True))
    except binascii.Error:
        return None
    with PillowImage.open(file, formats=["PNG"]) as image:
        if (image.height, image.width) != size:
            return None
        rgba = np.asarray(image.convert("RGBA"))
    return cv2.extractChannel(rgba, 3) > 0
