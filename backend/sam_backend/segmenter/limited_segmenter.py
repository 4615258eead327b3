"""A segmenter that computes in a few threads at the same time."""

import os
import threading
from collections.abc import Sequence
from typing import Any

from sam_model.interfaces import Segmenter
from sam_model.types import Image, Prompt, ScoredMask


class LimitedSegmenter:
    """A segmenter whose calls wait while `at_most` others compute; by default one for each processor core.

    More threads than cores finish no sooner, but keep the event loop and other processes waiting.
    """

    def __init__(self, segmenter: Segmenter[Any], at_most: int | None = None) -> None:
        self._segmenter = segmenter
        self._turns = threading.Semaphore(at_most or os.cpu_count() or 1)

    @property
    def name(self) -> str:
        """The model's name in the registry."""
        return self._segmenter.name

    @property
    def fingerprint(self) -> str:
        """Names model, weights and settings."""
        return self._segmenter.fingerprint

    @property
    def uses_mask_input(self) -> bool:
        """Whether a prompt's `mask_input` changes its mask."""
        return self._segmenter.uses_mask_input

    def embed(self, image: Image) -> Any:
        """Embed an RGB uint8 image (H, W, 3)."""
        with self._turns:
            return self._segmenter.embed(image)

    def segment(self, embedding: Any, prompts: Sequence[Prompt]) -> list[ScoredMask]:
        """Return the best mask for each prompt."""
        with self._turns:
            return self._segmenter.segment(embedding, prompts)
