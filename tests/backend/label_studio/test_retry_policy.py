"""The retry policy with a clock that only its own pauses move: nothing waits."""

from collections.abc import Callable, Iterator

import pytest

from sam_backend.label_studio.client import LabelStudioApiError
from sam_backend.label_studio.retry_policy import MAX_PAUSE_S, RetryPolicy, StoppedError


class ManualClock:
    """Seconds that pass only in `sleep`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def policy_of(
    clock: ManualClock,
    notify: Callable[[str], None] = lambda message: None,
    give_up_after_s: float = 600,
    is_stopping: Callable[[], bool] = lambda: False,
) -> RetryPolicy:
    return RetryPolicy(is_stopping, give_up_after_s, notify, clock=clock, sleep=clock.sleep)


class Failing:
    """A call that raises the given errors one after the other and then returns "done"; `at` are the call times."""

    def __init__(self, clock: ManualClock, errors: Iterator[LabelStudioApiError] | list[LabelStudioApiError]) -> None:
        self._clock, self._errors, self.at = clock, iter(errors), list[float]()

    def __call__(self) -> str:
        self.at.append(self._clock.now)
        for error in self._errors:
            raise error
        return "done"

    @property
    def pauses(self) -> list[float]:
        return [after - before for before, after in zip(self.at, self.at[1:], strict=False)]


def test_a_call_that_succeeds_is_made_once_without_a_pause_or_message(clock: ManualClock) -> None:
    messages: list[str] = []
    once = Failing(clock, [])

    assert policy_of(clock, messages.append).call(once) == "done"

    assert once.at == [1000.0]
    assert messages == []


@pytest.mark.parametrize("status", [None, 429, 500, 502, 503])
def test_a_transient_error_is_retried_and_people_are_told_once(clock: ManualClock, status: int | None) -> None:
    messages: list[str] = []
    once = Failing(clock, [LabelStudioApiError("GET /api: no answer", status)] * 3)

    assert policy_of(clock, messages.append).call(once) == "done"

    assert len(once.at) == 4
    assert messages == ["waiting for Label Studio: GET /api: no answer"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413])
def test_another_error_is_raised_at_once(clock: ManualClock, status: int) -> None:
    once = Failing(clock, [LabelStudioApiError("refused", status)])

    with pytest.raises(LabelStudioApiError, match="refused"):
        policy_of(clock).call(once)

    assert len(once.at) == 1


def test_pauses_double_with_jitter_up_to_the_longest(clock: ManualClock) -> None:
    once = Failing(clock, [LabelStudioApiError("busy", 503)] * 10)

    policy_of(clock).call(once)

    longest = [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]
    assert all(most / 2 - 1e-6 <= pause <= most + 1e-6 for pause, most in zip(once.pauses, longest, strict=True))


def test_retry_after_sets_the_pause_up_to_the_longest(clock: ManualClock) -> None:
    errors = [LabelStudioApiError("slow down", 429, retry_after_s=7), LabelStudioApiError("slow down", 429, 3600)]
    once = Failing(clock, errors)

    policy_of(clock).call(once)

    assert once.pauses == pytest.approx([7, MAX_PAUSE_S])


def test_an_error_that_lasts_too_long_is_raised(clock: ManualClock) -> None:
    def down_for_ever() -> Iterator[LabelStudioApiError]:
        while True:
            yield LabelStudioApiError("no answer")

    once = Failing(clock, down_for_ever())

    with pytest.raises(LabelStudioApiError, match="no answer"):
        policy_of(clock, give_up_after_s=60).call(once)

    assert 60 < clock.now - 1000 <= 60 + MAX_PAUSE_S


def test_an_error_after_which_a_call_may_not_be_repeated_is_raised(clock: ManualClock) -> None:
    once = Failing(clock, [LabelStudioApiError("busy", 429), LabelStudioApiError("lost", None)])

    with pytest.raises(LabelStudioApiError, match="lost"):
        policy_of(clock).call(once, is_repeatable=lambda error: error.status == 429)

    assert len(once.at) == 2


def test_a_stop_ends_the_pause(clock: ManualClock) -> None:
    once = Failing(clock, [LabelStudioApiError("slow down", 429, retry_after_s=20)])

    with pytest.raises(StoppedError):
        policy_of(clock, is_stopping=lambda: clock.now >= 1005).call(once)

    assert len(once.at) == 1
    assert clock.now == pytest.approx(1005, abs=0.2)
