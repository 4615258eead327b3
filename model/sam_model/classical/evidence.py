"""What clicks, a box and the mask before the last click say about each superpixel: the inputs of the region network.

Each input is a number per superpixel. Distances are paths, climbs (see `Reach`), straight lines in diagonals of the
image, and colour differences.

Sources: geodesic distance for segmentation, Bai & Sapiro, ICCV 2007; iterated colour models, GrabCut, Rother et al.,
SIGGRAPH 2004; the previous mask as an input, Sofiiuk et al., arXiv:2102.06583.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sam_model.classical.colour_words import Floats
from sam_model.classical.region_graph import Reach, RegionGraph
from sam_model.types import Box, Point

CLICK_REACH = 1.5  # path length at which the influence of a click has fallen to 1/e
CLICK_RADIUS = 0.15  # standard deviation of the influence of a click, in diagonals of the image
TRUST = 1.2  # weight of a colour's log ratio in a logit
NO_COLOUR = 3.0  # colour difference to a click that there is not, in units of 20 Lab steps


@dataclass(frozen=True)
class Nearest:
    """The distances of each of n superpixels from the nearest of some clicks; large ones without clicks."""

    regions: tuple[int, ...]  # of the clicks
    reach: Reach
    straight: Floats  # (n,), in diagonals of the image
    unlike: Floats  # (n,), colour difference in units of 20 Lab steps

    def influence(self) -> Floats:
        """Return the influence (n,) of the clicks, 0..1, which decreases along paths and with distance."""
        return np.asarray(np.exp(-self.reach.path / CLICK_REACH - self.straight**2 / (2 * CLICK_RADIUS**2)))


def no_clicks(graph: RegionGraph) -> Nearest:
    """Return the distances without clicks."""
    n = graph.count
    return Nearest((), graph.reach([]), np.ones(n, np.float32), np.full(n, NO_COLOUR, np.float32))


def with_click(graph: RegionGraph, before: Nearest, click: Point, reach: Reach) -> Nearest:
    """Return the distances with one click more, which is in working pixels; `reach` is that of its region."""
    region = graph.region_at((click.x, click.y))
    straight = distance_to(graph, click)
    unlike = np.linalg.norm(graph.weighted_colour - graph.weighted_colour[region], axis=1) / 20
    return Nearest(
        (*before.regions, region),
        reach.nearer(before.reach),
        np.minimum(straight, before.straight),
        np.minimum(unlike, before.unlike).astype(np.float32),
    )


def distance_to(graph: RegionGraph, click: Point) -> Floats:
    """Return the distance (n,) of each region's centre from a click, in diagonals of the image."""
    apart = graph.centre - np.array([click.x, click.y], np.float32)
    return np.asarray(np.linalg.norm(apart, axis=1) / graph.diagonal, np.float32)


@dataclass(frozen=True)
class BoxEvidence:
    """The position of each of n superpixels relative to a box, or to the image without one."""

    inside: Floats  # (n,), share of the region in the box
    ring: Floats  # (n,), weight as surroundings
    inputs: Floats  # (n, 7)
    reach: Reach  # from the outside


def box_evidence(graph: RegionGraph, box: Box | None, is_limit: bool) -> BoxEvidence:
    """Return the evidence of a box (working pixels); `is_limit`: the object does not extend beyond it."""
    n, rim = graph.count, np.flatnonzero(graph.rim)
    if box is None:
        nothing = np.zeros((n, 7), np.float32)
        return BoxEvidence(np.ones(n, np.float32), np.full(n, 0.3, np.float32), nothing, graph.reach(rim))
    inside = share_in_box(graph, box)
    x0, y0, x1, y1 = box
    half = np.maximum([(x1 - x0) / 2, (y1 - y0) / 2], 0.5)
    outwards = np.abs((graph.centre - np.array([(x0 + x1) / 2, (y0 + y1) / 2])) / half)
    farthest = outwards.max(axis=1)
    ring = np.where(inside < 0.5, np.exp(-2 * np.clip(farthest - 1, 0, 3) ** 2), 0) + 0.02
    outside = np.flatnonzero(inside < 0.2)
    share = max((x1 - x0) * (y1 - y0) / graph.labels.size, 1e-4)
    columns = [
        inside,
        *np.minimum(outwards, 3).T,
        np.minimum(farthest, 3),
        np.minimum(np.linalg.norm(outwards, axis=1), 3),
        np.full(n, 1.0 if is_limit else 0.5),
        np.full(n, np.log(share) / 3),
    ]
    reach = graph.reach(outside if is_limit and outside.size else rim)
    return BoxEvidence(inside, ring.astype(np.float32), np.stack(columns, axis=1).astype(np.float32), reach)


def share_in_box(graph: RegionGraph, box: Box) -> Floats:
    """Return the share of each superpixel (n,) that lies in the box."""
    height, width = graph.labels.shape
    x = np.clip(np.minimum(np.arange(width) + 1, box[2]) - np.maximum(np.arange(width), box[0]), 0, 1)
    y = np.clip(np.minimum(np.arange(height) + 1, box[3]) - np.maximum(np.arange(height), box[1]), 0, 1)
    inside = np.bincount(graph.labels.ravel(), np.outer(y, x).ravel(), graph.count)
    return (inside / np.bincount(graph.labels.ravel(), minlength=graph.count)).astype(np.float32)


@dataclass(frozen=True)
class LastClick:
    """The last click, and how deep it is in the region that it corrects."""

    click: Point  # working pixels
    depth: float  # distance to the nearest region that has the click's label already, in diagonals of the image


def last_click(graph: RegionGraph, click: Point, previous: Floats | None) -> LastClick:
    """Return the depth of a click in the mask before it, given as probabilities (n,)."""
    half_a_region = 0.5 / np.sqrt(graph.count)
    if previous is None:
        height, width = graph.labels.shape
        depth = min(click.x, click.y, width - click.x, height - click.y) / graph.diagonal
    else:
        agrees = (previous > 0.5) == click.is_positive
        depth = float(distance_to(graph, click)[agrees].min()) - half_a_region if agrees.any() else 0.3
    return LastClick(click, max(depth, half_a_region))


def evidence(
    graph: RegionGraph,
    positive: Nearest,
    negative: Nearest,
    box: BoxEvidence,
    last: LastClick | None,
    previous: Floats,
) -> Floats:
    """Return the inputs (n, F) of the region network.

    `previous` is the probabilities (n,) before the last click, or the first guess; it is the first column.
    """
    n = graph.count
    has_clicks, has_negative = bool(positive.regions), bool(negative.regions)
    near, beside = positive.influence(), negative.influence()
    in_middle = np.exp(-(box.inputs[:, 4] ** 2)) * box.inside
    fore = np.maximum(near if has_clicks else in_middle, previous) * (1 - beside)
    back = box.ring * (1 - previous) + 4 * beside
    by_colour = [_colour_ratio(graph, fore, back)]
    likely = box.inside / (1 + np.exp(-TRUST * by_colour[0])) * (np.exp(-positive.reach.path / 4) if has_clicks else 1)
    by_colour.append(_colour_ratio(graph, np.maximum(likely, fore), back + 0.3 * (1 - likely) * (1 - fore)))

    own, other, outside = positive.reach, negative.reach, box.reach
    starts = list(positive.regions)
    middle = np.isin(np.arange(n), starts) if starts else box.inside + 1e-6  # a box may be empty
    start_path, start_climb = (float(np.average(d, weights=middle)) for d in (outside.path, outside.climb))
    balance = np.log((positive.straight + 0.01) / (negative.straight + 0.01)) if has_negative else np.zeros(n)
    rim_distance = np.minimum(graph.centre, np.array(graph.labels.shape[::-1]) - graph.centre).min(axis=1)
    columns = [
        previous,
        *by_colour,
        own.path / 5,
        other.path / 5,
        outside.path / 5,
        np.exp(-own.path / CLICK_REACH),
        np.exp(-other.path / CLICK_REACH),
        own.climb / 2,
        other.climb / 2,
        outside.climb / 2,
        np.minimum(own.climb / (start_climb + 0.1), 3),
        np.minimum(own.path / (start_path + 0.3), 3),
        3 * positive.straight,
        3 * np.minimum(negative.straight, 1),
        np.exp(-(positive.straight**2) / (2 * 0.08**2)),
        np.clip(balance, -3, 3),
        positive.unlike,
        negative.unlike,
        np.full(n, start_climb / 2),
        np.full(n, start_path / 5),
        np.full(n, np.log1p(len(positive.regions))),
        np.full(n, np.log1p(len(negative.regions))),
        np.full(n, np.sqrt((previous * graph.area).sum())),
        rim_distance / graph.diagonal * 4,
        np.log(graph.area * n + 1e-3),
        np.minimum(graph.roughness, 6) / 3,
        graph.background,
        *_last_click_columns(graph, last, previous).T,
    ]
    return np.asarray(np.concatenate([np.stack(columns, axis=1), box.inputs], axis=1), np.float32)


def _last_click_columns(graph: RegionGraph, last: LastClick | None, previous: Floats) -> Floats:
    """Return the inputs (n, 5) of the last click."""
    n = graph.count
    if last is None:
        return np.zeros((n, 5), np.float32)
    sign = 1.0 if last.click.is_positive else -1.0
    away = np.minimum(distance_to(graph, last.click) / last.depth, 4)
    region = graph.region_at((last.click.x, last.click.y))
    is_new = (previous[region] > 0.5) != last.click.is_positive
    unlike = np.linalg.norm(graph.weighted_colour - graph.weighted_colour[region], axis=1) / 20
    columns = [
        sign * np.exp(-(away**2) / 2),
        sign * np.exp(-(away**2) / 2 - (unlike / 0.5) ** 2),
        np.full(n, sign),
        np.full(n, np.log(last.depth + 0.01) / 2),
        np.full(n, float(is_new)),
    ]
    return np.asarray(np.stack(columns, axis=1))


def _colour_ratio(graph: RegionGraph, fore: Floats, back: Floats) -> Floats:
    """Return the log ratio (n,) of each region's colour in `fore` to that in `back`, which are weights (n,)."""
    histograms: NDArray[np.floating] = graph.words.histogram(np.stack([fore, back]) * graph.area)
    return np.asarray(graph.words.log_ratio(histograms[:1], histograms[1:])[0][graph.words.word])
