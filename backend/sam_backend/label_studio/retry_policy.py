"""Waits for a Label Studio that is busy, restarting or out of reach for a while, and says when that is too long."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from sam_backend.label_studio.client import LabelStudioApiError

T = TypeVar("T")
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
POLL_S = 0.1


class StoppedError(Exception):
    """Somebody wants the work to end, while it waited."""


class RetryPolicy:
    """Calls again what failed for a passing reason, after waits that double, with jitter, or that a 429 names."""

    def __init__(self, is_stopping: Callable[[], bool], give_up_after_s: float, say: Callable[[str], None]) -> None:
        """Give up after so many seconds in which nothing succeeded; `say` is told when the waiting begins."""
        self._is_stopping, self._give_up_after_s, self._say = is_stopping, give_up_after_s, say

    def call(self, once: Callable[[], T], *, is_repeatable: Callable[[LabelStudioApiError], bool] | None = None) -> T:
        """What `once` gives, sooner or later.

        Args:
            once: makes the call.
            is_repeatable: whether the call may be made again after an error; by default when the error may pass.

        Raises:
            LabelStudioApiError: it did not pass, or not in time.
            StoppedError: the work is to end.
        """
        began, failures = time.monotonic(), 0
        while True:
            try:
                return once()
            except LabelStudioApiError as error:
                may_repeat = error.is_transient and (is_repeatable is None or is_repeatable(error))
                if not may_repeat or time.monotonic() - began > self._give_up_after_s:
                    raise
                failures += 1
                if failures == 1:
                    self._say(f"waiting for Label Studio: {error}")
                self.wait(error.retry_after_s or _backoff_s(failures))

    def wait(self, seconds: float) -> None:
        """Wait, but no longer than the work is wanted.

        Raises:
            StoppedError: the work is to end.
        """
        end = time.monotonic() + min(seconds, LONGEST_WAIT_S)
        while not self._is_stopping():
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, POLL_S))
        raise StoppedError


def _backoff_s(failures: int) -> float:
    longest: float = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(failures - 1, 20))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311  # spreads callers, keeps no secret
