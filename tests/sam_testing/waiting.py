"""Waiting for a condition."""

import threading
from collections.abc import Callable


def wait_until(is_so: Callable[[], bool]) -> None:
    """Poll a condition; the timeout of the test ends one that never holds."""
    pause = threading.Event()
    while not is_so():
        pause.wait(0.02)
