"""The logits of earlier answers: each click on an object refines the mask of the clicks before it.

Source: SAM, arXiv:2304.02643, appendix A, "Training algorithm": the mask of the last round is a prompt of the next, for
8 sampled points. What refines what follows from the request alone: the clicks of one object in their order. Logits that
are remembered save the decoder's calls for the clicks before; where they are missing, they are computed again, so the
same request gives the same answer whatever was asked in between, and after a restart.
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

REFINED = 8  # clicks; those after the eighth all refine the mask of the first eight


class PreviousLogits:
    """Remembers the logits of the last answers by the image and the prompt. Threads may share it."""

    def __init__(self, at_most: int = 128) -> None:
        """Keep up to `at_most` answers; SAM's are 256 KiB each."""
        self._at_most = at_most
        self._logits: OrderedDict[Hashable, LowResLogits] = OrderedDict()
        self._lock = threading.Lock()

    def mask_input(
        self, segmenter: Segmenter[Any], embedding: Embedding, image_key: str, prompt: Prompt
    ) -> LowResLogits | None:
        """The logits that `prompt` refines: those of its clicks without the last; None where it refines nothing."""
        if not segmenter.uses_mask_input:
            return None
        steps = earlier_prompts(prompt)
        logits: LowResLogits | None = None
        first = 0
        for i in reversed(range(len(steps))):
            logits = self._recall(image_key, steps[i])
            if logits is not None:
                first = i + 1
                break
        for step in steps[first:]:
            (answer,) = segmenter.segment(embedding, [replace(step, mask_input=logits)])
            logits = answer.low_res_logits
            if logits is not None:
                self.remember(image_key, step, logits)
        return logits

    def remember(self, image_key: str, prompt: Prompt, logits: LowResLogits) -> None:
        """Note the answer to `prompt` with its mask input, if it is one that later clicks may refine."""
        if prompt.box is not None or len(prompt.points) > REFINED:
            return
        with self._lock:
            self._logits[(image_key, prompt)] = logits  # prompts are equal whatever their mask inputs
            self._logits.move_to_end((image_key, prompt))
            while len(self._logits) > self._at_most:
                self._logits.popitem(last=False)

    def _recall(self, image_key: str, prompt: Prompt) -> LowResLogits | None:
        with self._lock:
            logits = self._logits.get((image_key, prompt))
            if logits is not None:
                self._logits.move_to_end((image_key, prompt))
            return logits


def earlier_prompts(prompt: Prompt) -> list[Prompt]:
    """The prompts that a person gave on the way to `prompt`, the first click first, at most `REFINED`.

    Those without a positive click are left out: they mean no object. A box means its object without any refining.
    """
    if prompt.box is not None:
        return []
    beginnings = (prompt.points[:count] for count in range(1, min(len(prompt.points), REFINED + 1)))
    return [Prompt(points) for points in beginnings if any(point.is_positive for point in points)]
