"""Waiting for a condition."""

import threading
from collections.abc import Callable


def wait_until(is_so: Callable[[], bool]) -> None:
    """Poll a condition until it holds; the test's timeout ends the wait otherwise."""
    pause = threading.Event()
    while not is_so():
        pause.wait(0.02)
