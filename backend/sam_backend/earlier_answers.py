"""The logits of earlier answers: SAM refines its own last mask when a person adds a click to it.

Source: SAM, arXiv:2304.02643, appendix A, "Training algorithm": the mask of the last round is a prompt of the next.
"""

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

LowResLogits = NDArray[np.float32]


class EarlierAnswers:
    """Remembers the logits of the last answers by what was asked: an image and the regions that meant one object."""

    def __init__(self, at_most: int = 128) -> None:
        """Keep up to `at_most` answers; SAM's are 256 KiB each."""
        self._at_most = at_most
        self._logits: OrderedDict[Hashable, LowResLogits] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, image_key: str, regions: Sequence[Hashable], logits: LowResLogits) -> None:
        """Note the logits that answered `regions`."""
        with self._lock:
            self._logits[(image_key, frozenset(regions))] = logits
            self._logits.move_to_end((image_key, frozenset(regions)))
            while len(self._logits) > self._at_most:
                self._logits.popitem(last=False)

    def before(self, image_key: str, regions: Sequence[Hashable]) -> LowResLogits | None:
        """The logits of the same regions with one less, preferably the last drawn; None where that was never asked.

        A region that was dragged since is another one: what it said before does not count.
        """
        with self._lock:
            for i in reversed(range(len(regions))):
                others = frozenset(regions[:i]) | frozenset(regions[i + 1 :])
                found = self._logits.get((image_key, others)) if others else None
                if found is not None:
                    return found
        return None
