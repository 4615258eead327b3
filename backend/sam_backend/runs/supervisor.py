"""Runs of the service: one at a time, each in a process of its own behind the clicks.

A worker ends with the service, however that ends: it reads its standard input, which closes then. Its run is
interrupted in the ledger, and the next service goes on with it.

A worker that ends before its run does is started again: at once when it got further, else after 1, 2, 4 ... 60 s, in
which other runs have their turn. After `MAX_ATTEMPTS` in a row without progress the run is failed; a person can
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

LOOK_EVERY_S = 2.0  # for what another process left waiting
END_TIMEOUT_S = 5.0
CHECK_TIMEOUT_S = 5.0  # of Label Studio, for the project that a run belongs to
MAX_ATTEMPTS = 10  # in a row without progress: some four minutes
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0  # after an attempt without progress; doubles
WAITING = ("queued", "interrupted", "undoing")


@dataclass(frozen=True)
class _Attempts:
    """How often a run's worker ended in a row without progress, and when the next may start."""

    progress: int
    failures: int
    next_at: float  # time.monotonic()


class RunSupervisor:
    """Start one worker process at a time for the runs that the service was asked for, the oldest first."""

    def __init__(
        self,
        folder: Path,
        access: LabelStudioCredentials,
        environ: Mapping[str, str],
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        """`folder` holds the runs; `environ` is what workers get, besides Label Studio's address and token."""
        self._folder, self._runs, self._access, self._environ = folder, RunStore(folder), access, environ
        self._look_every_s = look_every_s
        self._changed, self._is_over = threading.Event(), threading.Event()
        self._lock, self._creating = threading.Lock(), threading.Lock()
        self._thread: threading.Thread | None = None
        self._worker: subprocess.Popen[bytes] | None = None
        self._attempts: dict[str, _Attempts] = {}
        self._elsewhere: dict[str, str | None] = {}  # run of another Label Studio -> the address that it was refused at
        self._problem = ""  # why no worker is started, as the log was told last

    def start(self) -> None:
        """Begin, if that has not begun; what an earlier service left unfinished goes on."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run_thread, name="supervise-runs", daemon=True)
                self._thread.start()

    def create(self, configuration: RunConfiguration, origin: RunOrigin, *, beside_others: bool = False) -> Run:
        """A new run, which begins when those before it have ended.

        Raises:
            RunStateError: the project has an unfinished run, unless this one may stand `beside_others`.
            RunStoreError: runs cannot be kept.
        """
        with self._creating:
            other = None if beside_others else self._runs.unfinished_of_project(origin)
            if other is not None:
                state = other.progress().state
                what_now = "resume or cancel it first" if state == "paused" else "wait for its end, or cancel it"
                raise RunStateError(f"run {other.id} of project {configuration.project} is {state}: {what_now}")
            run = self._runs.create(configuration, origin, is_of_service=True)
        self._changed.set()
        return run

    def take(self, run: Run) -> None:
        """Work on a run again, whoever began it."""
        self._attempts.pop(run.id, None)
        self._elsewhere.pop(run.id, None)
        run.hand_to_service()
        self._changed.set()

    def refuse_elsewhere(self, run: Run) -> None:
        """Refuse a run of another Label Studio; one that does not answer is left to the worker, which waits for it.

        Raises:
            RunElsewhereError: names both.
        """
        if self._access.is_known:
            api = LabelStudioClient(self._access, timeout_s=CHECK_TIMEOUT_S)
            with suppress(LabelStudioApiError):
                claim(run, api, self._access.url, RetryPolicy(lambda: False, 0.0, logger.debug))

    def close(self) -> None:
        """End the worker; its run stays to be gone on with."""
        self._is_over.set()
        self._changed.set()
        with self._lock:
            worker = self._worker
        if worker is None or worker.poll() is not None:
            return
        worker.terminate()
        with suppress(subprocess.TimeoutExpired):
            worker.wait(END_TIMEOUT_S)
            return
        worker.kill()
        worker.wait()

    def _run_thread(self) -> None:
        while not self._is_over.is_set():
            try:
                while not self._is_over.is_set() and (run := self._next()) is not None:
                    self._work_on(run)
                self._note_problem(self._runs.problem())
            except BackendError as error:
                self._note_problem(str(error))
            except Exception:  # the edge of a thread that must go on
                logger.exception("runs cannot be supervised")
            self._changed.wait(self._look_every_s)
            self._changed.clear()

    def _note_problem(self, problem: str) -> None:
        """Log why no run is worked on, once for each cause; /api/runs has it as well."""
        if problem and problem != self._problem:
            logger.warning("no bulk run is worked on: %s", problem)
        self._problem = problem

    def _next(self) -> Run | None:
        """Return the run that has waited longest; None while no address of Label Studio is known, or no disk space."""
        if not self._access.is_known or self._runs.problem():
            return None
        ours = [run for run in reversed(self._runs.runs()) if run.is_of_service and self._may_start(run)]
        return next((run for run in ours if run.progress().state in WAITING and not run.is_held), None)

    def _may_start(self, run: Run) -> bool:
        if run.id in self._elsewhere and self._elsewhere[run.id] == self._access.url:
            return False
        attempts = self._attempts.get(run.id)
        return attempts is None or time.monotonic() >= attempts.next_at

    def _work_on(self, run: Run) -> None:
        """Let a worker do what is wanted of the run, and wait for it."""
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
            # its end of the pipe closes with this process; a session of its own, so that Ctrl-C reaches only us
            self._worker = subprocess.Popen(  # noqa: S603  # our own program
                command, env=self._worker_environment(), stdin=subprocess.PIPE, start_new_session=True
            )
        logger.info("run %s: process %d works on it", run.id, self._worker.pid)
        with self._worker:
            code = self._worker.wait()
        self._note_attempt(run, code)
        ended = run.progress()
        what = f"{ended.counts.written} written, {ended.counts.skipped} skipped, {ended.counts.failed} failed"
        logger.info("run %s is %s: %s %s (exit code %d)", run.id, ended.state, what, ended.message, code)

    def _note_attempt(self, run: Run, code: int) -> None:
        """Count a worker that ended while its run is still to be worked on; fail the run after too many."""
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
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (failures - 1)) if failures else 0.0
        is_over = failures >= MAX_ATTEMPTS
        self._attempts[run.id] = _Attempts(progress, failures, math.inf if is_over else time.monotonic() + pause_s)
        if is_over:
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            run.end(
                "failed",
                f"its worker process ended {failures + 1} times without progress, the last time with {how}; see the "
                "backend's log for the cause, then resume the run",
            )

    def _worker_environment(self) -> dict[str, str]:
        """Address and token go by the environment: arguments are shown to everyone by ps."""
        threads = str(max(1, (os.cpu_count() or 2) - 1))  # a core stays for clicks
        limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
        return {**limits, **self._environ, **self._access.child_environment()}
