"""Edge maps of images, with any segmenter.

SAM uses the method of its paper. The masks of other segmenters have no logits: there, the strength of an edge grows
with the number of masks that end at it.
"""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_model.automatic_segmentation import POINTS_PER_BATCH, segment_automatically
from sam_model.interfaces import Segmenter
from sam_model.masks.boxes import box_from_mask
from sam_model.masks.edges import soft_border, thin_edges
from sam_model.types import Image, Mask, Point, Prompt

POINTS_PER_SIDE = 12  # of the grid
MARGIN = 8  # pixels around a mask's box: its soft border is 0 outside


def edges_automatically(segmenter: Segmenter[Any], image: Image) -> NDArray[np.float32]:
    """Return the edge strength of each pixel (H, W) of an RGB uint8 image (H, W, 3), 0..1, with thinned edges.

    Raises:
        ValueError: `image` is not RGB uint8.
    """
    if hasattr(segmenter, "model"):  # only a SAM has a model; then PyTorch is imported already
        from sam_model.sam.automatic_masks import edge_map

        return edge_map(segmenter, image)  # type: ignore[arg-type]  # see above
    edges = np.zeros(image.shape[:2], np.float32)
    for mask, score in _scored_masks(segmenter, image):
        _add_border(edges, mask, score)
    strongest = edges.max()
    if strongest == 0:
        return edges
    return np.sqrt(thin_edges(edges / strongest))  # the root keeps an edge of few masks visible


def _scored_masks(segmenter: Segmenter[Any], image: Image) -> Iterator[tuple[Mask, float]]:
    """Yield the masks of a FastSAM, or all candidates at a grid of points."""
    if hasattr(segmenter, "find_masks"):
        for one in segment_automatically(segmenter, image):
            yield one.run_lengths.mask, one.score
        return
    embedding = segmenter.embed(image)
    height, width = embedding.image_size
    positions = (np.arange(POINTS_PER_SIDE) + 0.5) / POINTS_PER_SIDE
    points = [Point(x * width, y * height) for y in positions for x in positions]
    for start in range(0, len(points), POINTS_PER_BATCH):
        prompts = [Prompt(points=(point,), multimask=True) for point in points[start : start + POINTS_PER_BATCH]]
        for best in segmenter.segment(embedding, prompts):
            for candidate in (best, *best.alternatives):
                yield candidate.mask, candidate.score


def _add_border(edges: NDArray[np.float32], mask: Mask, score: float) -> None:
    """Add the soft border of a mask (H, W) to the edges; the signed distance to the border is used as logits."""
    box = box_from_mask(mask)
    if box is None:
        return
    x_min, y_min, x_max, y_max = (int(edge) for edge in box)
    part = slice(max(0, y_min - MARGIN), y_max + MARGIN), slice(max(0, x_min - MARGIN), x_max + MARGIN)
    inside = mask[part].astype(np.uint8)
    outside = 1 - inside
    if not outside.any():
        return
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, 5) - cv2.distanceTransform(outside, cv2.DIST_L2, 5)
    edges[part] += score * soft_border(distance.astype(np.float32))
