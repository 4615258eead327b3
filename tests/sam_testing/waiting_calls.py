"""Calls of several threads that all wait before the first of them is computed."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from sam_model.runtime.combined_calls import CombinedCalls
from sam_testing.waiting import wait_until

T = TypeVar("T")
R = TypeVar("R")


def call_at_once(calls: CombinedCalls[Any, Any], function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Return the results of a function that makes one of `calls` per item, from a thread per item.

    Raises:
        Exception: the error of the first item that has one.
    """
    with ThreadPoolExecutor(len(items)) as threads:
        with calls.computing:
            waiting = []
            for number, item in enumerate(items, 1):  # one after the other, so that they wait in this order
                waiting.append(threads.submit(function, item))
                wait_until(lambda number=number: calls.waiting == number)  # type: ignore[misc]  # mypy: default of a lambda
        return [one.result() for one in waiting]
