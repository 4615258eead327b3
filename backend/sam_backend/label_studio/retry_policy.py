"""Retry policy for calls of Label Studio: repeat transient errors with growing pauses, up to a time limit."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from sam_backend.label_studio.client import LabelStudioApiError

T = TypeVar("T")
FIRST_PAUSE_S, MAX_PAUSE_S = 0.5, 30.0
POLL_INTERVAL_S = 0.1


class StoppedError(Exception):
    """The work was told to stop."""


class RetryPolicy:
    """Repeat calls that failed with a transient error; each pause is twice the one before, with jitter.

    A 429 with Retry-After sets the pause itself.
    """

    def __init__(
        self,
        is_stopping: Callable[[], bool],
        give_up_after_s: float,
        notify: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """
        Args:
            is_stopping: whether the work was told to stop.
            give_up_after_s: seconds after the first attempt of a call, after which its error is raised.
            notify: receives a message for people when the first pause begins.
            clock: in seconds.
            sleep: of seconds.
        """
        self._is_stopping, self._give_up_after_s, self._notify = is_stopping, give_up_after_s, notify
        self._clock, self._sleep = clock, sleep

    def call(self, once: Callable[[], T], *, is_repeatable: Callable[[LabelStudioApiError], bool] | None = None) -> T:
        """Call `once` until it succeeds, and return its result.

        Args:
            once: makes the call.
            is_repeatable: whether the call may be repeated after a transient error; by default always.

        Raises:
            LabelStudioApiError: the error is not transient, may not be repeated, or lasts too long.
            StoppedError: the work was told to stop during a pause.
        """
        began, failures = self._clock(), 0
        while True:
            try:
                return once()
            except LabelStudioApiError as error:
                may_repeat = error.is_transient and (is_repeatable is None or is_repeatable(error))
                if not may_repeat or self._clock() - began > self._give_up_after_s:
                    raise
                failures += 1
                if failures == 1:
                    self._notify(f"waiting for Label Studio: {error}")
                self.pause(error.retry_after_s or _backoff_s(failures))

    def pause(self, seconds: float) -> None:
        """Wait for at most `MAX_PAUSE_S` seconds.

        Raises:
            StoppedError: the work was told to stop.
        """
        end = self._clock() + min(seconds, MAX_PAUSE_S)
        while not self._is_stopping():
            left_s = end - self._clock()
            if left_s <= 0:
                return
            self._sleep(min(left_s, POLL_INTERVAL_S))
        raise StoppedError


def _backoff_s(failures: int) -> float:
    longest_s: float = min(MAX_PAUSE_S, FIRST_PAUSE_S * 2 ** min(failures - 1, 20))
    return longest_s * random.uniform(0.5, 1.0)  # noqa: S311  # jitter, no secret
