"""Task ids of imports, collected until no more arrive: many small imports in a row become one run."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol

QUIET_S = 3.0  # without a further import, before the run starts
MAX_WAIT_S = 60.0  # after the first import


class Timer(Protocol):
    """A call in the future, as `threading.Timer`."""

    def start(self) -> None:
        """Start to wait."""

    def cancel(self) -> None:
        """Drop the call, if it has not started."""


class ImportDebouncer:
    """Collect task ids by project and start one run for them; threads may share it."""

    def __init__(
        self,
        start_run: Callable[[int, tuple[int, ...]], object],
        *,
        quiet_s: float = QUIET_S,
        max_wait_s: float = MAX_WAIT_S,
        clock: Callable[[], float] = time.monotonic,
        make_timer: Callable[[float, Callable[[], None]], Timer] | None = None,
    ) -> None:
        """
        Args:
            start_run: gets a project and its tasks, in a timer's thread.
            quiet_s: a run starts when no import of its project has come for so many seconds,
            max_wait_s: or so many seconds after the first one.
            clock: seconds.
            make_timer: makes a timer of seconds and a function.
        """
        self._start_run, self._quiet_s, self._max_wait_s = start_run, quiet_s, max_wait_s
        self._clock, self._make_timer = clock, make_timer or _daemon_timer
        self._ids: dict[int, dict[int, None]] = {}
        self._timers: dict[int, Timer] = {}
        self._first_import: dict[int, float] = {}
        self._lock = threading.Lock()

    def add(self, project: int, task_ids: Iterable[int]) -> None:
        """Collect imported tasks; return at once."""
        with self._lock:
            self._ids.setdefault(project, {}).update(dict.fromkeys(task_ids))
            if project in self._timers:
                self._timers[project].cancel()
            now = self._clock()
            left_s = self._first_import.setdefault(project, now) + self._max_wait_s - now
            timer = self._make_timer(max(0.0, min(self._quiet_s, left_s)), lambda: self._start(project))
            self._timers[project] = timer
            timer.start()

    def flush(self) -> None:
        """Start the runs of all collected tasks now."""
        with self._lock:
            projects = list(self._ids)
        for project in projects:
            self._start(project)

    def _start(self, project: int) -> None:
        with self._lock:
            task_ids = tuple(self._ids.pop(project, ()))
            self._first_import.pop(project, None)
            timer = self._timers.pop(project, None)
        if timer is not None:
            timer.cancel()
        if task_ids:
            self._start_run(project, task_ids)


def _daemon_timer(delay_s: float, call: Callable[[], None]) -> Timer:
    timer = threading.Timer(delay_s, call)
    timer.daemon = True
    return timer
