"""A fast segmenter whose masks follow from the prompts alone."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sam_model.types import Image, Prompt, ScoredMask

RADIUS = 5.0  # pixels


@dataclass(frozen=True)
class DiscEmbedding:
    image_size: tuple[int, int]
    fingerprint: str = "disc-1"
    nbytes: int = 1000


class DiscSegmenter:
    """Turn a box into its pixels, and points into discs: add the positive discs, then remove the negative ones."""

    name = "disc"
    fingerprint = "disc-1"
    uses_mask_input = True

    def __init__(self, score: float = 0.87) -> None:
        self.score = score
        self.images: list[Image] = []  # what embed has seen
        self.prompts: list[Prompt] = []  # what segment was asked
        self.go_on = threading.Event()  # embed waits for it
        self.go_on.set()

    def embed(self, image: Image) -> DiscEmbedding:
        self.images.append(image)
        self.go_on.wait(timeout=30)
        return DiscEmbedding((image.shape[0], image.shape[1]))

    def segment(self, embedding: DiscEmbedding, prompts: Sequence[Prompt]) -> list[ScoredMask]:
        self.prompts.extend(prompts)
        return [
            ScoredMask(_mask(embedding.image_size, prompt), self.score, np.full((4, 4), len(prompt.points), np.float32))
            for prompt in prompts
        ]


def _mask(image_size: tuple[int, int], prompt: Prompt) -> np.ndarray:
    height, width = image_size
    y, x = np.mgrid[0:height, 0:width] + 0.5
    mask = np.zeros(image_size, dtype=bool) if prompt.mask is None else prompt.mask
    if prompt.box is not None:
        x_min, y_min, x_max, y_max = prompt.box
        mask |= (x_min <= x) & (x <= x_max) & (y_min <= y) & (y <= y_max)
    for point in sorted(prompt.points, key=lambda point: not point.is_positive):
        disc = np.hypot(x - point.x, y - point.y) <= RADIUS
        mask = mask | disc if point.is_positive else mask & ~disc
    return mask
