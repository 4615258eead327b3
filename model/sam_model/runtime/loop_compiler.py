"""Compilation of loops by Numba. This is the only file that imports it."""

from collections.abc import Callable
from typing import Any

import numba

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def compiled(signature: str) -> Decorator:
    """Return a decorator that compiles a function now, and stores the result if a folder can be written.

    Compiling takes seconds; later processes read the result from Numba's cache: the folder `__pycache__` beside the
    function's file, or one in the user's cache folder. The function runs without Python's lock.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            made: Callable[..., Any] = numba.njit(signature, cache=True, nogil=True)(function)
        except (RuntimeError, OSError):  # no folder for the cache
            made = numba.njit(signature, nogil=True)(function)
        return made

    return decorate
