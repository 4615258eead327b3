"""A promptable segmenter that needs no weights: superpixels, evidence from all prompts, one narrow GrabCut."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_model.classical.evidence import WorkingPrompt, object_probability
from sam_model.classical.refinement import cut, guided_filter
from sam_model.classical.region_graph import Floats, RegionGraph, region_graph
from sam_model.classical.superpixels import slic
from sam_model.types import Image, Mask, Prompt, ScoredMask

VERSION = 1
WORKING_SIDE = 320  # pixels of the longer side of the working image
CELL = 12  # pixels of a superpixel's side in it
FINGERPRINT = f"classical-{VERSION}-{WORKING_SIDE}-{CELL}"


@dataclass(frozen=True)
class ClassicalEmbedding:
    """What the classical segmenter knows of an image: a small copy and its graph of superpixels."""

    image_size: tuple[int, int]
    fingerprint: str
    working: NDArray[np.uint8]  # (h, w, 3)
    guide: Floats  # (h, w), lightness 0..1
    graph: RegionGraph

    @property
    def nbytes(self) -> int:
        """Memory that it holds, in bytes."""
        return self.working.nbytes + self.guide.nbytes + self.graph.nbytes


class ClassicalSegmenter:
    """Masks from clicks and boxes without any weights; see the package's docstring for the method."""

    name = "classical"
    fingerprint = FINGERPRINT

    def embed(self, image: Image) -> ClassicalEmbedding:
        """Look at an RGB uint8 image (H, W, 3) once.

        Raises:
            ValueError: not an RGB uint8 image.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ValueError(f"image is {image.dtype} {image.shape}; an RGB uint8 image (H, W, 3) is needed")
        height, width = image.shape[:2]
        scale = WORKING_SIDE / max(height, width)
        size = [max(1, round(side * scale / CELL)) * CELL for side in (width, height)]
        shrinks = size[0] <= width and size[1] <= height
        working = cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        lab = cv2.cvtColor(working.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        return ClassicalEmbedding(
            image_size=(height, width),
            fingerprint=self.fingerprint,
            working=working,
            guide=np.ascontiguousarray(lab[..., 0] / 100),
            graph=region_graph(lab, slic(lab, CELL)),
        )

    def segment(self, embedding: ClassicalEmbedding, prompts: Sequence[Prompt]) -> list[ScoredMask]:
        """The best mask for each prompt, in the prompts' order, at the original size.

        Raises:
            ValueError: an empty prompt, numbers that are not finite, or the embedding of another model.
        """
        if embedding.fingerprint != self.fingerprint:
            raise ValueError(f"the embedding is of {embedding.fingerprint!r}, not of {self.fingerprint!r}")
        for prompt in prompts:
            _check(prompt)
        return [_segment(embedding, prompt) for prompt in prompts]


def _check(prompt: Prompt) -> None:
    if not prompt.points and prompt.box is None and prompt.mask_input is None:
        raise ValueError("the prompt is empty: it has no points, no box and no mask_input")
    for point in prompt.points:
        if not (math.isfinite(point.x) and math.isfinite(point.y)):
            raise ValueError(f"point ({point.x}, {point.y}) is not finite")
    if prompt.box is not None and not all(map(math.isfinite, prompt.box)):
        raise ValueError(f"box {prompt.box} is not finite")


def _segment(embedding: ClassicalEmbedding, prompt: Prompt) -> ScoredMask:
    height, width = embedding.image_size
    positive = [point for point in prompt.points if point.is_positive]
    if not positive and prompt.box is None:
        return ScoredMask(np.zeros((height, width), bool), 0.0)
    graph = embedding.graph
    h, w = graph.labels.shape
    scale = np.array([w / width, h / height], np.float32)

    def scaled(is_positive: bool) -> Floats:
        xy = [(p.x, p.y) for p in prompt.points if p.is_positive == is_positive]
        return np.array(xy, np.float32).reshape(-1, 2).clip(0, [width, height]).astype(np.float32) * scale

    box = None
    if prompt.box is not None:
        x0, y0, x1, y1 = prompt.box
        box = (min(x0, x1) * scale[0], min(y0, y1) * scale[1], max(x0, x1) * scale[0], max(y0, y1) * scale[1])
    working = WorkingPrompt(scaled(True), scaled(False), box)
    regions = object_probability(graph, working)
    probability = cv2.GaussianBlur(regions[graph.labels], (0, 0), 1.5)
    certain = np.zeros((h, w), np.uint8)
    if box is not None:
        certain[:] = 2
        certain[int(box[1]) : math.ceil(box[3]), int(box[0]) : math.ceil(box[2])] = 0
    for value, points in ((1, working.positive), (2, working.negative)):
        for x, y in points:
            cv2.circle(certain, (min(int(x), w - 1), min(int(y), h - 1)), 2, value, -1)
    refined = cut(embedding.working, probability, certain)
    refined = guided_filter(embedding.guide, refined, 3, 1e-3)
    large = cv2.resize(refined, (width, height), interpolation=cv2.INTER_LINEAR)
    pixels = [
        (min(max(int(p.x), 0), width - 1), min(max(int(p.y), 0), height - 1), p.is_positive) for p in prompt.points
    ]
    for x, y, is_positive in pixels:
        cv2.circle(large, (x, y), max(1, round(0.006 * max(height, width))), float(is_positive), -1)
    for x, y, is_positive in pixels:
        large[y, x] = float(is_positive)
    mask = _tidy(large > 0.5, pixels, prompt.box is not None)
    inside = regions[regions > 0.5]
    return ScoredMask(mask, float(np.clip(inside.mean() if inside.size else 0, 0, 1)))


def _tidy(mask: Mask, pixels: list[tuple[int, int, bool]], has_box: bool) -> Mask:
    """Keep the parts that were clicked (or are large); fill small holes that no negative click is in."""
    n, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if n > 2:
        keep = np.zeros(n, bool)
        positive = [parts[y, x] for x, y, is_positive in pixels if is_positive]
        keep[positive] = True
        if has_box or not positive:
            keep |= stats[:, 4] > 0.1 * stats[1:, 4].max()
        keep[0] = False
        mask = keep[parts]
    n, holes, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    if n > 2:
        fill = stats[:, 4] < 0.03 * mask.sum()
        fill[np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]])] = False
        fill[[holes[y, x] for x, y, is_positive in pixels if not is_positive]] = False
        fill[0] = False
        mask = mask | fill[holes]
    return mask
