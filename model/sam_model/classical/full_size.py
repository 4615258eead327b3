"""From the superpixels' probabilities to a mask at the size of the original image.

There are three grids: the original image; the photo, a copy of at most PHOTO_SIDE pixels; and the view, the part of the
photo around the object, shrunk to VIEW_PIXELS. In the view, the probabilities are combined with the pixels' colours and
with the clicks. A guided filter then follows the edges of the photo.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_model.classical.clicks import apply_clicks, click_radius
from sam_model.classical.colour_words import Floats
from sam_model.classical.evidence import LastClick
from sam_model.classical.refinement import colour_log_ratio, guided_coefficients
from sam_model.classical.region_graph import RegionGraph
from sam_model.classical.region_network import logit
from sam_model.classical.region_selection import Selection, keeps_to_box
from sam_model.masks.cleaning import Pixel
from sam_model.types import Box, Mask, Point

VIEW_PIXELS = 40_000
MARGIN = 0.25  # of the view around the object, in the object's sides
BLUR = 1.0  # standard deviation, in pixels of the working image, of the superpixels' probabilities
CERTAIN = 0.02  # probabilities nearer to 0 or 1 count as this
COLOUR_TRUST = 4.0  # weight of a pixel's colour in its logit, times the square of how distinct the colours are
CLICK_TRUST = 4.0  # logit that a click adds in its middle
CLICK_REACH = 0.6  # distance at which the click adds 1/e of it, in depths of the click in the wrong piece
FILTER_RADIUS = 2  # pixels of the view
FILTER_SMOOTHNESS = 1e-3  # variance of lightness (0..1) that counts as flat


@dataclass(frozen=True)
class Grid:
    """A pixel grid on a part of the original image: its origin, its pixels' sides, its (width, height)."""

    origin: Floats  # (2,), x and y in pixels of the original image
    pixel: Floats  # (2,), likewise
    size: tuple[int, int]

    def pixel_at(self, x: float, y: float) -> Pixel:
        """Return row and column of the grid's pixel at a point of the original image; it may be outside the grid."""
        column, row = np.floor((np.array([x, y]) - self.origin) / self.pixel).astype(int)
        return int(row), int(column)

    def sample(self, image: Floats, grid: "Grid") -> Floats:
        """Sample `image`, which is on `grid`, at the centres of this grid's pixels (H, W)."""
        same_origin = np.array_equal(self.origin, grid.origin)
        if same_origin and np.allclose(self.pixel * self.size, grid.pixel * grid.size, rtol=0, atol=1e-6):
            return np.asarray(cv2.resize(image, self.size, interpolation=cv2.INTER_LINEAR))  # the fast special case
        step = self.pixel / grid.pixel
        start = (self.origin - grid.origin) / grid.pixel + 0.5 * step - 0.5  # the first pixel's centre
        matrix = np.array([[step[0], 0, start[0]], [0, step[1], start[1]]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(image, matrix, self.size, flags=flags, borderMode=cv2.BORDER_REPLICATE))


def full_size_mask(
    photo: NDArray[np.uint8],
    graph: RegionGraph,
    selection: Selection,
    points: tuple[Point, ...],
    box: Box | None,
    image_size: tuple[int, int],
) -> Mask:
    """Return the mask (H, W) of `selection`. `photo` is the image in 8-bit Lab, possibly shrunk; points and box are in
    pixels.
    """
    height, width = image_size
    mask = np.zeros((height, width), bool)
    probability = selection.probability
    if probability is None or not (probability > 0.5).any():
        return mask
    working = _whole(graph.labels.shape, image_size)
    x0, y0, x1, y1 = _window(graph, probability > 0.5, photo.shape)
    whole = _whole(photo.shape, image_size)
    crop = Grid(np.array([x0, y0]) * whole.pixel, whole.pixel, (x1 - x0, y1 - y0))
    cropped = np.ascontiguousarray(photo[y0:y1, x0:x1])
    shrink = max(1.0, math.sqrt((x1 - x0) * (y1 - y0) / VIEW_PIXELS))
    view_size = (max(1, round((x1 - x0) / shrink)), max(1, round((y1 - y0) / shrink)))
    view = Grid(crop.origin, np.array(crop.size) * crop.pixel / view_size, view_size)

    seen = np.asarray(cv2.resize(cropped, view_size, interpolation=cv2.INTER_AREA), np.uint8)
    soft = view.sample(np.asarray(cv2.GaussianBlur(probability[graph.labels], (0, 0), BLUR), np.float32), working)
    logits = logit(soft, CERTAIN) + _colour_logits(seen, soft, selection.is_distinct)
    for click in selection.clicks:
        logits += _click_logits(view, click, working, graph.diagonal)
    values = 1 / (1 + np.exp(-logits))
    if box is not None and keeps_to_box(points, box):
        values[_outside(view, box)] = 0
    slope, offset = guided_coefficients(_lightness(seen), values.astype(np.float32), FILTER_RADIUS, FILTER_SMOOTHNESS)
    alpha = crop.sample(slope, view) * _lightness(cropped) + crop.sample(offset, view)

    low = np.floor(crop.origin).astype(int)
    high = np.minimum(np.ceil(crop.origin + np.array(crop.size) * crop.pixel - 1e-6).astype(int), [width, height])
    patch = Grid(low, np.ones(2), (int(high[0] - low[0]), int(high[1] - low[1])))
    part = patch.sample(alpha, crop) > 0.5
    positive, negative = _clicks_in(patch, points, image_size, True), _clicks_in(patch, points, image_size, False)
    part = apply_clicks(part, positive, negative, click_radius(image_size), has_box=box is not None)
    mask[low[1] : high[1], low[0] : high[0]] = part
    return mask


def _colour_logits(photo: NDArray[np.uint8], soft: Floats, is_distinct: bool) -> Floats:
    """Return the logits (H, W) of the pixels' colours; `is_distinct`: the selection is a distinct region."""
    inside, outside = soft, 1 - soft
    if is_distinct:  # then mixed superpixels at the outline say little about either side
        inside, outside = np.maximum(2 * soft - 1, 0), np.maximum(1 - 2 * soft, 0)
    ratio, distinct = colour_log_ratio(photo, inside, outside)
    return np.asarray(COLOUR_TRUST * distinct**2 * ratio)


def _click_logits(view: Grid, click: LastClick, working: Grid, diagonal: float) -> Floats:
    """Return the logits (H, W) that a click adds around it, as far as it is deep."""
    sign = CLICK_TRUST if click.click.is_positive else -CLICK_TRUST
    x, y = np.array([click.click.x, click.click.y]) * working.pixel
    reach = max(CLICK_REACH * click.depth * diagonal, 0.5) * working.pixel
    columns = (view.origin[0] + (np.arange(view.size[0]) + 0.5) * view.pixel[0] - x) / reach[0]
    rows = (view.origin[1] + (np.arange(view.size[1]) + 0.5) * view.pixel[1] - y) / reach[1]
    return np.asarray(sign * np.outer(np.exp(-(rows**2)), np.exp(-(columns**2))))


def _whole(shape: tuple[int, ...], image_size: tuple[int, int]) -> Grid:
    """Return the grid of a copy (H, W, ...) of the whole image."""
    return Grid(np.zeros(2), np.array([image_size[1] / shape[1], image_size[0] / shape[0]]), (shape[1], shape[0]))


def _window(graph: RegionGraph, members: NDArray[np.bool_], shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return the part (x_min, y_min, x_max, y_max) of the photo that contains the object and a margin."""
    rows, columns = graph.labels.shape
    to_photo = np.array([shape[1] / columns, shape[0] / rows])
    extent = graph.extent[members]
    least, most = extent[:, :2].min(axis=0) * to_photo, extent[:, 2:].max(axis=0) * to_photo
    margin = MARGIN * (most - least) + 8
    low = np.maximum(np.floor(least - margin), 0).astype(int)
    high = np.minimum(np.ceil(most + margin), [shape[1], shape[0]]).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _outside(view: Grid, box: Box) -> NDArray[np.bool_]:
    """Return the pixels (H, W) of the view that are outside the box."""
    top, left = view.pixel_at(box[0], box[1])
    bottom, right = view.pixel_at(box[2] - 1e-6, box[3] - 1e-6)
    outside = np.ones(view.size[::-1], bool)
    outside[max(top, 0) : max(bottom + 1, 0), max(left, 0) : max(right + 1, 0)] = False
    return outside


def _lightness(lab: NDArray[np.uint8]) -> Floats:
    return lab[..., 0].astype(np.float32) / 255


def _clicks_in(patch: Grid, points: tuple[Point, ...], image_size: tuple[int, int], is_positive: bool) -> list[Pixel]:
    """Return the pixels of `patch` at the positive or negative points; the far border counts as the last pixel."""
    height, width = image_size
    pixels = [
        patch.pixel_at(min(p.x, width - 0.5), min(p.y, height - 0.5)) for p in points if p.is_positive == is_positive
    ]
    columns, rows = patch.size
    return [(row, column) for row, column in pixels if 0 <= row < rows and 0 <= column < columns]
