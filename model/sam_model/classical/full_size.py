"""From an answer in superpixels to a mask at the size of the original image."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_model.classical.refinement import colour_model, cut, guided_coefficients
from sam_model.classical.region_answer import RegionAnswer
from sam_model.classical.region_graph import Floats, RegionGraph
from sam_model.types import Box, Mask, Point

VIEW_PIXELS = 50_000  # that GrabCut works on
MARGIN = 0.25  # around the answer, in its sides
BAND = 0.12  # half width of what GrabCut decides, in roots of the answer's area
ROUNDS = 1
CUT_SHARE = 0.65  # of the cut in what the guided filter smooths; the rest are the superpixels
FILTER_RADIUS = 3  # pixels of the view
FILTER_SMOOTHNESS = 1e-3
CLICK_RADIUS = 0.004  # of the disc a click certainly holds, in diagonals of the image
SMALL_HOLE = 0.03  # share of the mask; smaller holes without a negative click are filled
SMALL_PART = 0.1  # share of the largest part; smaller ones without a positive click are dropped

Window = tuple[int, int, int, int]  # x_min, y_min, x_max, y_max, in pixels


def full_size_mask(
    photo: NDArray[np.uint8],
    graph: RegionGraph,
    answer: RegionAnswer,
    points: tuple[Point, ...],
    box: Box | None,
    image_size: tuple[int, int],
) -> Mask:
    """The mask (H, W) of `answer`. `photo` is the image in 8-bit Lab, maybe smaller; points, box in image pixels."""
    height, width = image_size
    mask = np.zeros((height, width), bool)
    if not answer.members.any():
        return mask
    rows, columns = photo.shape[:2]
    working = np.array(graph.labels.shape[::-1], np.float32)
    to_photo = np.array([columns, rows]) / working
    x0, y0, x1, y1 = window = _window(graph, answer, to_photo, (columns, rows))
    crop = photo[y0:y1, x0:x1]
    scale = min(1.0, math.sqrt(VIEW_PIXELS / crop[..., 0].size))
    view_size = (max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale)))
    view = cv2.resize(crop, view_size, interpolation=cv2.INTER_AREA) if scale < 1 else np.ascontiguousarray(crop)
    per_view = np.array([(x1 - x0) / view_size[0], (y1 - y0) / view_size[1]])  # photo pixels

    soft = cv2.GaussianBlur(answer.members[graph.labels].astype(np.float32), (0, 0), 1.0)
    soft = _resampled(soft, view_size, per_view / to_photo, np.array([x0, y0]) / to_photo)
    to_view = np.array([columns / width, rows / height]) / per_view
    origin = np.array([x0, y0]) / per_view
    trimap = _trimap(soft)
    if box is not None and all(box[0] <= p.x <= box[2] and box[1] <= p.y <= box[3] for p in points if p.is_positive):
        left, top = np.floor(np.array(box[:2]) * to_view - origin).astype(int)
        right, bottom = np.ceil(np.array(box[2:]) * to_view - origin).astype(int)
        inside = np.zeros(trimap.shape, bool)
        inside[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = True
        trimap[~inside] = cv2.GC_BGD
    radius = max(1, round(CLICK_RADIUS * math.hypot(columns, rows) / per_view.max()))
    for p in points:
        at = np.floor(np.array([p.x, p.y]) * to_view - origin).astype(int)
        cv2.circle(trimap, (int(at[0]), int(at[1])), radius, cv2.GC_FGD if p.is_positive else cv2.GC_BGD, -1)
    chosen = cut(view, trimap, _models(graph, answer), ROUNDS)
    values = CUT_SHARE * chosen.astype(np.float32) + (1 - CUT_SHARE) * soft
    values[trimap == cv2.GC_BGD] = 0
    guide = view[..., 0].astype(np.float32) / 255
    slope, offset = guided_coefficients(guide, values, FILTER_RADIUS, FILTER_SMOOTHNESS)
    if scale < 1:
        slope, offset = (cv2.resize(v, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR) for v in (slope, offset))
    alpha = slope * (crop[..., 0].astype(np.float32) / 255) + offset
    _paste(mask, alpha, window, (columns, rows))
    _mark_clicks(mask, points)
    _tidy(mask, points, box is not None)
    return mask


def _window(graph: RegionGraph, answer: RegionAnswer, to_photo: NDArray[np.float64], size: tuple[int, int]) -> Window:
    """The part of the photo that the answer and some surroundings fill."""
    extent = graph.extent[answer.members]
    least, most = extent[:, :2].min(axis=0) * to_photo, extent[:, 2:].max(axis=0) * to_photo
    margin = MARGIN * (most - least) + 8
    low = np.maximum(np.floor(least - margin), 0).astype(int)
    high = np.minimum(np.ceil(most + margin), size).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _resampled(image: Floats, size: tuple[int, int], step: NDArray[np.float64], origin: NDArray[np.float64]) -> Floats:
    """`size` (width, height) pixels of `image`, each `step` wide, from `origin` on; half pixels are minded."""
    start = origin + 0.5 * step - 0.5
    matrix = np.array([[step[0], 0, start[0]], [0, step[1], start[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(image, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _trimap(soft: Floats) -> NDArray[np.uint8]:
    """GrabCut's four labels: sure beyond a band around where `soft` (H, W) crosses one half."""
    is_object = (soft > 0.5).astype(np.uint8)
    band = BAND * math.sqrt(int(is_object.sum())) + 2
    depth = cv2.distanceTransform(is_object, cv2.DIST_L2, 3)
    height = cv2.distanceTransform(1 - is_object, cv2.DIST_L2, 3)
    trimap = np.where(is_object > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    trimap[depth > band] = cv2.GC_FGD
    trimap[height > band] = cv2.GC_BGD
    return trimap


def _models(graph: RegionGraph, answer: RegionAnswer) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Colour models of background and object, from the superpixels' colours in 8-bit Lab."""
    colours = graph.colour * np.array([2.55, 1, 1]) + np.array([0, 128, 128])
    members = answer.members
    foreground = colour_model(colours[members], graph.area[members])
    if members.all():
        return foreground, foreground
    return colour_model(colours[~members], graph.area[~members]), foreground


def _paste(mask: Mask, alpha: Floats, window: Window, size: tuple[int, int]) -> None:
    """Set the mask (H, W) where `alpha`, given for a window of a photo of `size`, is above one half."""
    height, width = mask.shape
    if size == (width, height):
        mask[window[1] : window[3], window[0] : window[2]] = alpha > 0.5
        return
    to_image = np.array([width / size[0], height / size[1]])
    low = np.floor(np.array(window[:2]) * to_image).astype(int)
    high = np.minimum(np.ceil(np.array(window[2:]) * to_image).astype(int), [width, height])
    step = 1 / to_image
    patch = _resampled(alpha, (int(high[0] - low[0]), int(high[1] - low[1])), step, low * step - np.array(window[:2]))
    mask[low[1] : high[1], low[0] : high[0]] = patch > 0.5


def pixel_at(point: Point, image_size: tuple[int, int]) -> tuple[int, int]:
    """Row and column of the pixel under a point; the nearest one if it lies outside."""
    height, width = image_size
    row, column = min(max(point.y, 0), height - 1), min(max(point.x, 0), width - 1)
    return int(row), int(column)


def _mark_clicks(mask: Mask, points: tuple[Point, ...]) -> None:
    """A small disc around each click is as the click says; of clicks on each other's disc each keeps its own pixel."""
    radius = max(1, round(CLICK_RADIUS * math.hypot(*mask.shape)))
    view = mask.view(np.uint8)
    for p in points:
        row, column = pixel_at(p, mask.shape)
        cv2.circle(view, (column, row), radius, int(p.is_positive), -1)
    for p in points:
        mask[pixel_at(p, mask.shape)] = p.is_positive


def _tidy(mask: Mask, points: tuple[Point, ...], has_box: bool) -> None:
    """Keep the parts that were clicked on (or are large); fill small holes that no negative click is in."""
    n, parts, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8))
    if n > 2:
        clicked = [parts[pixel_at(p, mask.shape)] for p in points if p.is_positive]
        keep = np.zeros(n, bool)
        keep[clicked] = True
        if has_box or not clicked:
            keep |= stats[:, cv2.CC_STAT_AREA] > SMALL_PART * stats[1:, cv2.CC_STAT_AREA].max()
        keep[0] = False
        mask &= keep[parts]
    n, holes, stats, _ = cv2.connectedComponentsWithStats((~mask).view(np.uint8), connectivity=4)
    if n > 2:
        fill = stats[:, cv2.CC_STAT_AREA] < SMALL_HOLE * mask.sum()
        fill[np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]])] = False
        fill[[holes[pixel_at(p, mask.shape)] for p in points if not p.is_positive]] = False
        fill[holes[mask][:1]] = False
        mask |= fill[holes]
