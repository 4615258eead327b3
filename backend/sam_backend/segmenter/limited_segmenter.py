"""A segmenter that limits the number of threads that compute at the same time."""

import os
import threading
from collections.abc import Sequence
from typing import Any

from sam_model.interfaces import PreparingSegmenter, ReducingSegmenter, Segmenter
from sam_model.types import Image, Prompt, ScoredMask


class LimitedSegmenter:
    """A segmenter of which at most `max_threads` calls compute at the same time; by default one per processor core.

    More threads than cores do not finish sooner, but delay the event loop and other processes.
    """

    def __init__(self, segmenter: Segmenter[Any], max_threads: int | None = None) -> None:
        self._segmenter = segmenter
        self._slots = threading.Semaphore(max_threads or os.cpu_count() or 1)

    @property
    def unlimited(self) -> Segmenter[Any]:
        """Return the segmenter itself: SAM and FastSAM have their own methods to segment everything."""
        return self._segmenter

    @property
    def name(self) -> str:
        """Return the model's name in the registry."""
        return self._segmenter.name

    @property
    def fingerprint(self) -> str:
        """Return a text that identifies model, weights and settings."""
        return self._segmenter.fingerprint

    @property
    def uses_mask_input(self) -> bool:
        """Return whether a prompt's `mask_input` changes its mask."""
        return self._segmenter.uses_mask_input

    def embed(self, image: Image) -> Any:
        """Embed an RGB uint8 image (H, W, 3)."""
        with self._slots:
            return self._segmenter.embed(image)

    def least_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Return the smallest (height, width) that an image of `image_size` may be decoded to for its embedding."""
        return self._segmenter.least_size(image_size) if isinstance(self._segmenter, ReducingSegmenter) else image_size

    def embed_reduced(self, pixels: Image, image_size: tuple[int, int]) -> Any:
        """Embed an image of `image_size`, decoded to `pixels` (h, w, 3)."""
        with self._slots:
            assert isinstance(self._segmenter, ReducingSegmenter)  # the others get whole images
            return self._segmenter.embed_reduced(pixels, image_size)

    def prepare(self, embedding: Any) -> None:
        """Compute what all prompts of an image share, if the segmenter has such work."""
        if isinstance(self._segmenter, PreparingSegmenter):
            with self._slots:
                self._segmenter.prepare(embedding)

    def segment(self, embedding: Any, prompts: Sequence[Prompt]) -> list[ScoredMask]:
        """Return the best mask for each prompt."""
        with self._slots:
            return self._segmenter.segment(embedding, prompts)
