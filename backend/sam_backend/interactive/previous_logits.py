"""Mask refinement: the logits of the previous clicks on an object are a prompt for the next click.

Source: SAM, arXiv:2304.02643, appendix A, "Training algorithm": the mask of one round is a prompt of the next, for 8
sampled points. The order of an object's clicks in the request decides which mask is refined. Remembered logits save
calls of the decoder; missing ones are computed again. So the answer depends on the request alone: it is the same after
other requests and after a restart.
"""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_model.interfaces import Embedding, Segmenter
from sam_model.types import Prompt

LowResLogits = NDArray[np.float32]

MAX_REFINEMENTS = 8  # clicks; all later clicks refine the mask of the first eight


class PreviousLogits:
    """Remembers the logits of the last masks, by image, model and prompt. Threads may share it."""

    def __init__(self, max_entries: int = 128) -> None:
        """Keep up to `max_entries` logits; SAM's take 256 KiB each."""
        self._max_entries = max_entries
        self._logits: OrderedDict[Hashable, LowResLogits] = OrderedDict()
        self._lock = threading.Lock()

    def mask_input(
        self, segmenter: Segmenter[Any], embedding: Embedding, image_key: str, prompt: Prompt
    ) -> LowResLogits | None:
        """Return the logits of the prompt's clicks except the last; None if there is no mask to refine."""
        if not segmenter.uses_mask_input:
            return None
        key = _key(image_key, embedding)
        steps = earlier_prompts(prompt)
        logits: LowResLogits | None = None
        first = 0
        for i in reversed(range(len(steps))):
            logits = self._recall(key, steps[i])
            if logits is not None:
                first = i + 1
                break
        for step in steps[first:]:
            (answer,) = segmenter.segment(embedding, [replace(step, mask_input=logits)])
            logits = answer.low_res_logits
            if logits is not None:
                self.remember(image_key, embedding, step, logits)
        return logits

    def remember(self, image_key: str, embedding: Embedding, prompt: Prompt, logits: LowResLogits) -> None:
        """Remember the logits of `prompt` with its mask input, if later clicks may refine them."""
        if prompt.box is not None or len(prompt.points) > MAX_REFINEMENTS:
            return
        key = (_key(image_key, embedding), prompt)  # mask inputs do not take part in the equality of prompts
        with self._lock:
            self._logits[key] = logits
            self._logits.move_to_end(key)
            while len(self._logits) > self._max_entries:
                self._logits.popitem(last=False)

    def _recall(self, key: str, prompt: Prompt) -> LowResLogits | None:
        with self._lock:
            logits = self._logits.get((key, prompt))
            if logits is not None:
                self._logits.move_to_end((key, prompt))
            return logits


def _key(image_key: str, embedding: Embedding) -> str:
    """Return the key of an image and a model: the logits of one model are no prompt for another."""
    return f"{image_key} {embedding.fingerprint}"


def earlier_prompts(prompt: Prompt) -> list[Prompt]:
    """Return the prompts of the first click, the first two clicks and so on; at most `MAX_REFINEMENTS`.

    Prompts without a positive click are left out, as they give no object. A prompt with a box has none.
    """
    if prompt.box is not None:
        return []
    beginnings = (prompt.points[:count] for count in range(1, min(len(prompt.points), MAX_REFINEMENTS + 1)))
    return [Prompt(points) for points in beginnings if any(point.is_positive for point in points)]
