"""Supervisor of the service's runs: one worker process at a time, with lower priority than clicks.

A worker ends with the service: it reads its standard input, which closes then. Its run is recorded as interrupted, and
the next service continues it.

If a worker ends before its run does, another one is started: at once after progress, else after 1, 2, 4 ... 60 s, in
which other runs can start. After `MAX_ATTEMPTS` attempts in a row without progress the run is failed; a person can
resume it.
"""

import logging
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sam_backend.errors import BackendError
from sam_backend.label_studio.client import LabelStudioApiError, LabelStudioClient
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.label_studio.retry_policy import RetryPolicy
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.runs.origin import RunElsewhereError, RunOrigin, claim
from sam_backend.runs.run_store import Run, RunStateError, RunStore

logger = logging.getLogger(__name__)

POLL_INTERVAL_S = 2.0  # for runs that another process left waiting
STOP_TIMEOUT_S = 5.0  # of a worker, before it is killed
CHECK_TIMEOUT_S = 5.0  # of Label Studio, for the project that a run belongs to
MAX_ATTEMPTS = 10  # in a row without progress: about four minutes
FIRST_PAUSE_S, MAX_PAUSE_S = 1.0, 60.0  # after an attempt without progress; doubles
WAITING = ("queued", "interrupted", "undoing")


@dataclass(frozen=True)
class _Attempts:
    """Attempts of a run in a row without progress, and when the next one may start."""

    progress: int
    failures: int
    next_at: float  # time.monotonic()


class RunSupervisor:
    """Start one worker process at a time for the service's runs, the oldest first."""

    def __init__(
        self,
        folder: Path,
        access: LabelStudioCredentials,
        environ: Mapping[str, str],
        poll_interval_s: float = POLL_INTERVAL_S,
    ) -> None:
        """
        Args:
            folder: of the runs.
            access: Label Studio's URL and token, which workers get by their environment.
            environ: further environment variables of workers.
            poll_interval_s: seconds between two looks for waiting runs.
        """
        self._folder, self._runs, self._access, self._environ = folder, RunStore(folder), access, environ
        self._poll_interval_s = poll_interval_s
        self._changed, self._is_over = threading.Event(), threading.Event()
        self._lock, self._creating = threading.Lock(), threading.Lock()
        self._thread: threading.Thread | None = None
        self._worker: subprocess.Popen[bytes] | None = None
        self._attempts: dict[str, _Attempts] = {}
        self._elsewhere: dict[str, str | None] = {}  # run of another Label Studio -> the address that refused it
        self._problem = ""  # the last logged reason why no worker is started

    def start(self) -> None:
        """Start the supervisor's thread once; it also continues unfinished runs of an earlier service."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run_thread, name="supervise-runs", daemon=True)
                self._thread.start()

    def create(self, configuration: RunConfiguration, origin: RunOrigin, *, beside_others: bool = False) -> Run:
        """Create a run, which starts when the runs before it have ended.

        Raises:
            RunStateError: the project has an unfinished run, and not `beside_others`.
            RunStoreError: the run cannot be stored.
        """
        with self._creating:
            other = None if beside_others else self._runs.unfinished_of_project(origin)
            if other is not None:
                state = other.progress().state
                fix = "resume or cancel it first" if state == "paused" else "wait for its end, or cancel it"
                raise RunStateError(f"run {other.id} of project {configuration.project} is {state}: {fix}")
            run = self._runs.create(configuration, origin, is_of_service=True)
        self._changed.set()
        return run

    def enqueue(self, run: Run) -> None:
        """Queue an existing run, also one that the command line started."""
        self._attempts.pop(run.id, None)
        self._elsewhere.pop(run.id, None)
        run.assign_to_service()
        self._changed.set()

    def refuse_elsewhere(self, run: Run) -> None:
        """Check that a run belongs to this Label Studio; if it does not answer now, the worker checks later.

        Raises:
            RunElsewhereError: the run belongs to another one; the message names both.
        """
        if self._access.is_known:
            api = LabelStudioClient(self._access, timeout_s=CHECK_TIMEOUT_S)
            with suppress(LabelStudioApiError):
                claim(run, api, self._access.url, RetryPolicy(lambda: False, 0.0, logger.debug))

    def close(self) -> None:
        """Stop the worker; its run can be continued."""
        self._is_over.set()
        self._changed.set()
        with self._lock:
            worker = self._worker
        if worker is None or worker.poll() is not None:
            return
        worker.terminate()
        with suppress(subprocess.TimeoutExpired):
            worker.wait(STOP_TIMEOUT_S)
            return
        worker.kill()
        worker.wait()

    def _run_thread(self) -> None:
        while not self._is_over.is_set():
            try:
                while not self._is_over.is_set() and (run := self._next()) is not None:
                    self._work_on(run)
                self._log_problem(self._runs.problem())
            except BackendError as error:
                self._log_problem(str(error))
            except Exception:  # the thread must continue
                logger.exception("run supervisor failed; trying again")
            self._changed.wait(self._poll_interval_s)
            self._changed.clear()

    def _log_problem(self, problem: str) -> None:
        """Log why no worker is started, once for each reason; /api/runs returns it too."""
        if problem and problem != self._problem:
            logger.warning("no bulk run can be started: %s", problem)
        self._problem = problem

    def _next(self) -> Run | None:
        """Return the oldest waiting run; None while Label Studio is unknown or no run can be stored."""
        if not self._access.is_known or self._runs.problem():
            return None
        ours = [run for run in reversed(self._runs.runs()) if run.is_of_service and self._may_start(run)]
        return next((run for run in ours if run.progress().state in WAITING and not run.is_locked), None)

    def _may_start(self, run: Run) -> bool:
        if run.id in self._elsewhere and self._elsewhere[run.id] == self._access.url:
            return False
        attempts = self._attempts.get(run.id)
        return attempts is None or time.monotonic() >= attempts.next_at

    def _work_on(self, run: Run) -> None:
        """Start a worker for the run and wait for its end."""
        try:
            self.refuse_elsewhere(run)
        except RunElsewhereError as error:
            logger.warning("%s", error)
            self._elsewhere[run.id] = self._access.url
            run.ledger.set_run(message=str(error))
            return
        command = [sys.executable, "-m", "sam_backend.runs.worker_process", str(self._folder), run.id]
        with self._lock:
            if self._is_over.is_set():
                return
            # the pipe closes with this process; a new session, so that Ctrl-C reaches only this process
            self._worker = subprocess.Popen(  # noqa: S603  # our own program
                command, env=self._worker_environment(), stdin=subprocess.PIPE, start_new_session=True
            )
        logger.info("run %s: started worker process %d", run.id, self._worker.pid)
        with self._worker:
            code = self._worker.wait()
        self._count_attempt(run, code)
        ended = run.progress()
        counts = f"{ended.counts.written} written, {ended.counts.skipped} skipped, {ended.counts.failed} failed"
        logger.info("run %s is %s: %s %s (exit code %d)", run.id, ended.state, counts, ended.message, code)

    def _count_attempt(self, run: Run, code: int) -> None:
        """Count a worker that ended before its run did; fail the run after too many."""
        earlier = self._attempts.get(run.id)
        try:
            if run.progress().state not in WAITING:
                self._attempts.pop(run.id, None)
                return
            row = run.ledger.run()
            progress = sum(int(row[name]) for name in ("listed", "written", "skipped", "failed", "undone"))
        except BackendError as error:
            logger.warning("run %s: %s", run.id, error)
            progress = earlier.progress if earlier is not None else -1
        failures = earlier.failures + 1 if earlier is not None and earlier.progress == progress else 0
        pause_s = min(MAX_PAUSE_S, FIRST_PAUSE_S * 2 ** (failures - 1)) if failures else 0.0
        is_over = failures >= MAX_ATTEMPTS
        self._attempts[run.id] = _Attempts(progress, failures, math.inf if is_over else time.monotonic() + pause_s)
        if is_over:
            cause = f"signal {-code}" if code < 0 else f"exit code {code}"
            run.end(
                "failed",
                f"the worker process ended {failures + 1} times without progress, the last time with {cause}; see the "
                "backend's log for the cause, then resume the run",
            )

    def _worker_environment(self) -> dict[str, str]:
        """Return the worker's environment with URL and token; arguments would be visible to all users (ps)."""
        threads = str(max(1, (os.cpu_count() or 2) - 1))  # one core is left for clicks
        limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
        return {**limits, **self._environ, **self._access.child_environment()}
