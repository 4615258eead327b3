"""Imports in a row become one run; time is a number here."""

from collections.abc import Callable

import pytest

from sam_backend.service.import_debouncer import ImportDebouncer


class FakeTimers:
    """A clock, and timers that fire when it is moved."""

    def __init__(self) -> None:
        self.now = 100.0
        self._due: list[tuple[float, FakeTimer]] = []

    def clock(self) -> float:
        return self.now

    def make_timer(self, delay_s: float, call: Callable[[], None]) -> "FakeTimer":
        timer = FakeTimer(call)
        self._due.append((self.now + delay_s, timer))
        return timer

    def advance(self, seconds: float) -> None:
        self.now += seconds
        fired = [timer for due, timer in self._due if due <= self.now]
        self._due = [(due, timer) for due, timer in self._due if due > self.now]
        for timer in fired:
            timer.fire()


class FakeTimer:
    def __init__(self, call: Callable[[], None]) -> None:
        self._call, self._is_waiting = call, False

    def start(self) -> None:
        self._is_waiting = True

    def cancel(self) -> None:
        self._is_waiting = False

    def fire(self) -> None:
        if self._is_waiting:
            self._is_waiting = False
            self._call()


Started = list[tuple[int, tuple[int, ...]]]


@pytest.fixture
def started() -> Started:
    return []


@pytest.fixture
def timers() -> FakeTimers:
    return FakeTimers()


@pytest.fixture
def debouncer(started: Started, timers: FakeTimers) -> ImportDebouncer:
    return ImportDebouncer(
        lambda project, ids: started.append((project, ids)),
        quiet_s=3,
        max_wait_s=10,
        clock=timers.clock,
        make_timer=timers.make_timer,
    )


def test_a_run_starts_when_no_import_has_come_for_the_quiet_time(
    debouncer: ImportDebouncer, timers: FakeTimers, started: Started
) -> None:
    debouncer.add(1, [5, 6])
    timers.advance(2.5)
    debouncer.add(1, [7, 5])  # the quiet time starts again
    timers.advance(2.5)
    before = list(started)
    timers.advance(0.5)

    assert before == []
    assert started == [(1, (5, 6, 7))]


def test_a_run_starts_after_the_longest_wait_although_imports_go_on(
    debouncer: ImportDebouncer, timers: FakeTimers, started: Started
) -> None:
    for second in range(10):
        assert started == []
        debouncer.add(1, [second])
        timers.advance(1)

    assert started == [(1, tuple(range(10)))]


def test_projects_are_collected_apart(debouncer: ImportDebouncer, timers: FakeTimers, started: Started) -> None:
    debouncer.add(1, [5])
    timers.advance(2)
    debouncer.add(2, [6])
    timers.advance(1)
    first = list(started)
    timers.advance(2)

    assert first == [(1, (5,))]
    assert started == [(1, (5,)), (2, (6,))]


def test_the_next_import_after_a_run_becomes_another_run(
    debouncer: ImportDebouncer, timers: FakeTimers, started: Started
) -> None:
    debouncer.add(1, [5])
    timers.advance(9)
    debouncer.add(1, [6])
    timers.advance(2.9)  # more than max_wait_s after the first import of the first run
    before = list(started)
    timers.advance(0.1)

    assert before == [(1, (5,))]
    assert started == [(1, (5,)), (1, (6,))]


def test_flush_starts_every_run_once(debouncer: ImportDebouncer, timers: FakeTimers, started: Started) -> None:
    debouncer.add(1, [5])
    debouncer.add(2, [6])

    debouncer.flush()
    timers.advance(100)

    assert started == [(1, (5,)), (2, (6,))]


def test_an_import_without_tasks_starts_no_run(
    debouncer: ImportDebouncer, timers: FakeTimers, started: Started
) -> None:
    debouncer.add(1, [])
    timers.advance(100)

    assert started == []
