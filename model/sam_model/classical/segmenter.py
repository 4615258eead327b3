"""A promptable segmenter that needs no download."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_model.classical.confidence import expected_iou, score
from sam_model.classical.full_size import full_size_mask
from sam_model.classical.region_graph import RegionGraph, region_graph
from sam_model.classical.region_network import RegionNetwork, load_network
from sam_model.classical.selection_memory import SelectionMemory
from sam_model.classical.superpixels import slic
from sam_model.types import Box, Image, Point, Prompt, ScoredMask

VERSION = 4
REGIONS = 1260  # superpixels, about
CELL = 8  # side of a superpixel in pixels of the working image
MAX_CELLS = 120  # superpixels along the longer side
PHOTO_SIDE = 1024  # maximum of the longer side, in pixels, of the copy for exact borders


@dataclass(frozen=True)
class ClassicalEmbedding:
    """The classical segmenter's representation of an image: a copy of it and its superpixels."""

    image_size: tuple[int, int]
    fingerprint: str
    photo: NDArray[np.uint8]  # (h, w, 3), 8-bit Lab
    graph: RegionGraph

    @property
    def nbytes(self) -> int:
        """The memory it takes, in bytes."""
        return self.photo.nbytes + self.graph.nbytes


class ClassicalSegmenter:
    """Masks from points and boxes. The package's docstring describes the method."""

    uses_mask_input = False

    name = "classical"
    fingerprint = f"classical-{VERSION}-{REGIONS}-{CELL}-{PHOTO_SIDE}"

    def __init__(self, network: RegionNetwork | None = None) -> None:
        """Use `network`, by default the one that comes with the package."""
        self._selections = SelectionMemory(network or load_network())

    def embed(self, image: Image) -> ClassicalEmbedding:
        """Compute the superpixels of an RGB uint8 image (H, W, 3).

        Raises:
            ValueError: `image` is not RGB uint8.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ValueError(f"image is {image.dtype} {image.shape}; an RGB uint8 image (H, W, 3) is needed")
        height, width = image.shape[:2]
        scale = min(1.0, PHOTO_SIDE / max(height, width))
        small = _resized(image, (max(1, round(width * scale)), max(1, round(height * scale))))
        cells = min(math.sqrt(REGIONS / (height * width)), MAX_CELLS / max(height, width))  # per pixel
        working = _resized(small, (max(1, round(width * cells)) * CELL, max(1, round(height * cells)) * CELL))
        lab = np.asarray(cv2.cvtColor(working.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)
        return ClassicalEmbedding(
            image_size=(height, width),
            fingerprint=self.fingerprint,
            photo=np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2LAB), np.uint8),
            graph=region_graph(lab, slic(lab, CELL)),
        )

    def segment(self, embedding: ClassicalEmbedding, prompts: Sequence[Prompt]) -> list[ScoredMask]:
        """Return the best mask of each prompt, in the order of the prompts, at the size of the original image.

        Raises:
            ValueError: a prompt is empty or has numbers that are not finite, or the embedding was made by another
                model.
        """
        if embedding.fingerprint != self.fingerprint:
            raise ValueError(f"the embedding was made by {embedding.fingerprint!r}, not by {self.fingerprint!r}")
        for prompt in prompts:
            _check(prompt)
        return [_segment(embedding, prompt, self._selections) for prompt in prompts]


def _resized(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    if size == (width, height):
        return image
    shrinks = size[0] <= width and size[1] <= height
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), np.uint8)


def _check(prompt: Prompt) -> None:
    if not prompt.points and prompt.box is None:
        raise ValueError("the prompt is empty: the classical segmenter needs points or a box")
    for point in prompt.points:
        if not (math.isfinite(point.x) and math.isfinite(point.y)):
            raise ValueError(f"point ({point.x}, {point.y}) is not finite")
    if prompt.box is not None and not all(map(math.isfinite, prompt.box)):
        raise ValueError(f"box {prompt.box} is not finite")


def _segment(embedding: ClassicalEmbedding, prompt: Prompt, selections: SelectionMemory) -> ScoredMask:
    height, width = embedding.image_size
    rows, columns = embedding.graph.labels.shape
    points = tuple(
        Point(min(max(p.x, 0.5), width - 0.5), min(max(p.y, 0.5), height - 0.5), p.is_positive) for p in prompt.points
    )
    box = None if prompt.box is None else _within(prompt.box, width, height)
    x, y = columns / width, rows / height
    selection = selections.select(
        embedding.graph,
        tuple(Point(p.x * x, p.y * y, p.is_positive) for p in points),
        None if box is None else (box[0] * x, box[1] * y, box[2] * x, box[3] * y),
    )
    mask = full_size_mask(embedding.photo, embedding.graph, selection, points, box, embedding.image_size)
    probability = selection.probability
    if probability is None or not mask.any():
        return ScoredMask(mask, 0.0)
    before = probability if selection.before_cut is None else selection.before_cut
    expected = expected_iou(probability > 0.5, before, embedding.graph.area)
    return ScoredMask(mask, score(expected, len(points), box is not None))


def _within(box: Box, width: int, height: int) -> Box:
    """Return the box with its corners in order, clipped to the image."""
    x0, x1 = (min(max(x, 0.0), float(width)) for x in sorted((box[0], box[2])))
    y0, y1 = (min(max(y, 0.0), float(height)) for y in sorted((box[1], box[3])))
    return x0, y0, x1, y1
