"""The speed of a run, recorded in its ledger for the display of the remaining time."""

import time
from collections import deque

from sam_backend.runs.ledger import Ledger

RATE_WINDOW_S = 30.0


class RateMeter:
    """Measures tasks per second over the last `RATE_WINDOW_S`; one thread uses it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._samples: deque[tuple[float, int]] = deque()

    def update(self, tasks: int) -> None:
        """Record that so many more tasks are done."""
        self._samples.append((time.monotonic(), tasks))
        while self._samples[0][0] < time.monotonic() - RATE_WINDOW_S:
            self._samples.popleft()
        span = time.monotonic() - self._samples[0][0]
        if span > 0:
            self._ledger.set_run(rate=sum(number for _, number in list(self._samples)[1:]) / span)
