from collections.abc import Callable, Sequence

import pytest

from sam_model.runtime.combined_calls import CombinedCalls, images_per_batch
from sam_testing.waiting_calls import call_at_once


def calls_with(compute: Callable[[int], float], at_most: int) -> tuple[CombinedCalls[int, float], list[list[int]]]:
    batches: list[list[int]] = []

    def compute_batch(numbers: Sequence[int]) -> list[float]:
        batches.append(list(numbers))
        return [compute(number) for number in numbers]

    return CombinedCalls(compute_batch, at_most), batches


def test_calls_that_wait_are_computed_in_batches_and_each_gets_its_result() -> None:
    calls, batches = calls_with(lambda number: 10.0 * number, at_most=3)

    assert call_at_once(calls, calls, [1, 2, 3, 4, 5]) == [10, 20, 30, 40, 50]
    assert batches == [[1, 2, 3], [4, 5]]


def test_a_call_waits_for_no_others() -> None:
    calls, batches = calls_with(float, at_most=3)

    assert [calls(1), calls(2)] == [1, 2]
    assert batches == [[1], [2]]


def test_of_a_batch_that_fails_each_item_is_computed_alone() -> None:
    calls, batches = calls_with(lambda number: 6 / number, at_most=3)

    def result_or_error(number: int) -> float | str:
        try:
            return calls(number)
        except ZeroDivisionError:
            return "error"

    assert call_at_once(calls, result_or_error, [3, 0, 2]) == [2, "error", 3]
    assert batches == [[3, 0, 2], [3], [0], [2]]


@pytest.mark.parametrize(("device", "several"), [("cuda", True), ("cuda:1", True), ("cpu", False), ("mps", False)])
def test_only_a_gpu_computes_several_images_together(device: str, several: bool) -> None:
    assert (images_per_batch(device) > 1) is several
