"""Tasks that are to be pre-annotated soon: many small imports in a row become one run."""

import threading
import time
from collections.abc import Callable, Iterable

QUIET_S = 3.0  # without a further import, until the run is started
LONGEST_S = 60.0  # from the first import on


class ImportDebouncer:
    """Collects task ids by project, and hands them over when no more come."""

    def __init__(
        self,
        start_run: Callable[[int, tuple[int, ...]], object],
        quiet_s: float = QUIET_S,
        longest_s: float = LONGEST_S,
    ) -> None:
        """`start_run` is given a project and its tasks, in a thread of its own."""
        self._start_run, self._quiet_s, self._longest_s = start_run, quiet_s, longest_s
        self._ids: dict[int, dict[int, None]] = {}
        self._timers: dict[int, threading.Timer] = {}
        self._began: dict[int, float] = {}
        self._lock = threading.Lock()

    def add(self, project: int, ids: Iterable[int]) -> None:
        """Note what was imported; returns at once."""
        with self._lock:
            self._ids.setdefault(project, {}).update(dict.fromkeys(ids))
            if project in self._timers:
                self._timers[project].cancel()
            now = time.monotonic()
            left_s = self._began.setdefault(project, now) + self._longest_s - now
            timer = threading.Timer(max(0.0, min(self._quiet_s, left_s)), self._hand_over, (project,))
            timer.daemon = True
            self._timers[project] = timer
            timer.start()

    def flush(self) -> None:
        """Hand over what is waiting now: the service ends."""
        with self._lock:
            projects = list(self._ids)
        for project in projects:
            self._hand_over(project)

    def _hand_over(self, project: int) -> None:
        with self._lock:
            ids = tuple(self._ids.pop(project, ()))
            self._began.pop(project, None)
            timer = self._timers.pop(project, None)
        if timer is not None:
            timer.cancel()
        if ids:
            self._start_run(project, ids)
