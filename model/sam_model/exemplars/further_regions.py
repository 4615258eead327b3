"""Regions beside the proposals of the classical segmenter, which the examples suggest.

Superpixels are merged by colour, so an object of several colours is proposed in parts only. Neighbouring parts are
joined as long as their union is more like the examples. Then the boxes of the best regions are segmented again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_model.automatic_segmentation import SegmentedObject
from sam_model.box_segmentation import segment_boxes
from sam_model.exemplars.classical_descriptor import ClassicalDescriber
from sam_model.exemplars.descriptors import Describer, Descriptors
from sam_model.exemplars.similarity import Scores
from sam_model.interfaces import Segmenter
from sam_model.masks.boxes import box_from_mask
from sam_model.masks.coco_rle import run_lengths_from_mask
from sam_model.types import Image, Mask

Score = Callable[[Descriptors], Scores]  # descriptors (N, D) -> scores (N,)

SEGMENTED = 16  # regions whose boxes are segmented again
MIN_SEGMENTED_SCORE = 0.1
SEEDS, NEIGHBOURS, ROUNDS = 12, 16, 2  # regions that are joined with others; tried neighbours; joins of one region
SIDE = 160  # pixels of the reduced image in which unions are compared
MIN_GAIN = 0.01  # of the score, for a join
MAX_SHARED = 0.1  # share of the smaller of two regions that are joined
SIZES = (0.05, 5.0)  # area of a neighbour, relative to the region that it is joined with
SAME = 0.8  # share of the larger of two regions that are nearly the same


def with_further_regions(
    segmenter: Segmenter[Any],
    describer: Describer,
    image: Image,
    embedding: Any,
    regions: Sequence[SegmentedObject],
    descriptors: Descriptors,
    scores: Mapping[str, Score],
) -> tuple[Sequence[SegmentedObject], Descriptors]:
    """Return the regions and descriptors (N, D) with further ones of the classical segmenter first.

    Other segmenters propose masks of objects already, so nothing is added for them.

    Args:
        segmenter: makes the masks of boxes.
        describer: of the regions.
        image: RGB uint8 (H, W, 3).
        embedding: of the image, by this segmenter.
        regions: the proposals.
        descriptors: of the proposals (N, D).
        scores: of each label.
    """
    from sam_model.classical.segmenter import ClassicalEmbedding  # with SciPy, which a service starts without

    def added(masks: Sequence[Mask]) -> tuple[Sequence[SegmentedObject], Descriptors]:
        """Return `regions` and `descriptors` with these masks first: of equal scores, the first one is kept."""
        boxes = [box_from_mask(mask) for mask in masks]
        made = [
            SegmentedObject(run_lengths_from_mask(mask), box, 1.0)
            for mask, box in zip(masks, boxes, strict=True)
            if box is not None
        ]
        if not made:
            return regions, descriptors
        rows = describer.describe(image, embedding, [one.run_lengths.mask for one in made])
        return [*made, *regions], np.concatenate([rows, descriptors])

    if not regions or not scores or not isinstance(embedding, ClassicalEmbedding):
        return regions, descriptors
    if isinstance(describer, ClassicalDescriber):  # others take too long for so many unions
        regions, descriptors = added(list(_joined_masks(describer, image, regions, descriptors, scores)))
    best = np.stack([score(descriptors) for score in scores.values()]).max(axis=0)
    chosen = [n for n in np.argsort(-best, kind="stable")[:SEGMENTED] if best[n] >= MIN_SEGMENTED_SCORE]
    return added([one.mask for one in segment_boxes(segmenter, embedding, [regions[n].box for n in chosen])])


def _joined_masks(
    describer: Describer,
    image: Image,
    regions: Sequence[SegmentedObject],
    descriptors: Descriptors,
    scores: Mapping[str, Score],
) -> Iterator[Mask]:
    """Yield the unions (H, W) of the best regions with neighbours that make them more like the examples."""
    known = list(scores.values())
    table = np.stack([score(descriptors) for score in known])  # (labels, N)
    reduced = _ReducedRegions(describer, image, regions)
    for seed in reduced.different(np.argsort(-table.max(axis=0), kind="stable")):
        parts = reduced.joined(seed, known[int(table[:, seed].argmax())])
        if len(parts) > 1:
            yield np.logical_or.reduce([regions[number].run_lengths.mask for number in parts])


class _ReducedRegions:
    """Regions in a reduced image: which ones touch, and what their unions look like."""

    def __init__(self, describer: Describer, image: Image, regions: Sequence[SegmentedObject]) -> None:
        height, width = image.shape[:2]
        scale = min(1.0, SIDE / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        self._describer = describer
        self._image: Image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        masks = [
            cv2.resize(one.run_lengths.mask.view(np.uint8), size, interpolation=cv2.INTER_NEAREST) for one in regions
        ]
        grown = np.stack([cv2.dilate(mask, np.ones((3, 3), np.uint8)) for mask in masks])
        self._masks = np.stack(masks).view(np.bool_)  # (N, h, w)
        self._pixels = self._masks.reshape(len(masks), -1).astype(np.float32)  # (N, h * w)
        self._area = self._pixels.sum(axis=1)
        self._shared = self._pixels @ self._pixels.T
        self._touches = grown.reshape(len(masks), -1).astype(np.float32) @ self._pixels.T > 0
        self._rows: dict[tuple[int, ...], Any] = {}

    def different(self, order: NDArray[np.intp]) -> list[int]:
        """Return the first `SEEDS` regions in `order` of which no two are nearly the same."""
        found: list[int] = []
        for number in map(int, order):
            shares = [self._shared[number, other] / max(self._area[number], self._area[other], 1) for other in found]
            if self._area[number] > 0 and max(shares, default=0) < SAME:
                found.append(number)
            if len(found) == SEEDS:
                break
        return found

    def joined(self, seed: int, score: Score) -> tuple[int, ...]:
        """Return the numbers of the regions whose union with the seed has the highest score; at least the seed."""
        parts: tuple[int, ...] = (seed,)
        reached = float(score(self._described([parts]))[0])
        for _ in range(ROUNDS):
            unions = [tuple(sorted((*parts, number))) for number in self._neighbours(parts)]
            if not unions:
                break
            found = score(self._described(unions))
            best = int(found.argmax())
            if found[best] <= reached + MIN_GAIN:
                break
            parts, reached = unions[best], float(found[best])
        return parts

    def _neighbours(self, parts: tuple[int, ...]) -> list[int]:
        """Return the largest regions that touch the union of `parts` and share little with it."""
        union = self._masks[list(parts)].any(axis=0).ravel().astype(np.float32)
        area, shared = float(union.sum()), self._pixels @ union
        is_neighbour = self._touches[list(parts)].any(axis=0) & (shared <= MAX_SHARED * np.minimum(self._area, area))
        is_neighbour &= (self._area > SIZES[0] * area) & (self._area < SIZES[1] * area)
        numbers = np.flatnonzero(is_neighbour)
        return [int(number) for number in numbers[np.argsort(-self._area[numbers], kind="stable")][:NEIGHBOURS]]

    def _described(self, unions: Sequence[tuple[int, ...]]) -> Descriptors:
        missing = [parts for parts in unions if parts not in self._rows]
        if missing:
            masks: list[Mask] = [np.asarray(self._masks[list(parts)].any(axis=0)) for parts in missing]
            self._rows.update(zip(missing, self._describer.describe(self._image, None, masks), strict=True))
        return np.stack([self._rows[parts] for parts in unions])
