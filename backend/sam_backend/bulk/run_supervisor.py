"""Runs of the service: one at a time, each in a process of its own behind the clicks.

A worker ends with the service, however that ends: it reads its standard input, which closes then. Its run is
interrupted in the ledger, and the next service goes on with it.
"""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from sam_backend.bulk.configuration import RunConfiguration
from sam_backend.bulk.run_store import Run, RunStateError, RunStore
from sam_backend.errors import BackendError
from sam_backend.label_studio.access import LabelStudioAccess

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0  # for what another process left waiting
END_TIMEOUT_S = 5.0
MOST_ATTEMPTS = 3  # of a worker that dies without getting any further
WAITING = ("queued", "interrupted", "undoing")


class RunSupervisor:
    """Lets workers loose on the runs that the service was asked for, the oldest first."""

    def __init__(
        self, folder: Path, access: LabelStudioAccess, environ: Mapping[str, str], look_every_s: float = LOOK_EVERY_S
    ) -> None:
        """`folder` holds the runs; `environ` is what workers get, besides Label Studio's address and token."""
        self._folder, self._runs, self._access, self._environ = folder, RunStore(folder), access, environ
        self._look_every_s = look_every_s
        self._changed, self._is_over = threading.Event(), threading.Event()
        self._lock, self._creating = threading.Lock(), threading.Lock()
        self._thread: threading.Thread | None = None
        self._worker: subprocess.Popen[bytes] | None = None
        self._attempts: dict[str, tuple[int, int]] = {}  # run -> tasks that were done, times begun with so many

    def start(self) -> None:
        """Begin, if that has not begun; what an earlier service left unfinished goes on."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run_thread, name="supervise-runs", daemon=True)
                self._thread.start()

    def create(self, configuration: RunConfiguration, title: str = "", *, beside_others: bool = False) -> Run:
        """A new run, which begins when those before it have ended.

        Raises:
            RunStateError: the project has an unfinished run, unless this one may stand `beside_others`.
            RunStoreError: runs cannot be kept.
        """
        with self._creating:
            other = None if beside_others else self._runs.unfinished_of_project(configuration.project)
            if other is not None:
                state = other.progress().state
                what_now = "resume or cancel it first" if state == "paused" else "wait for its end, or cancel it"
                raise RunStateError(f"run {other.id} of project {configuration.project} is {state}: {what_now}")
            run = self._runs.create(configuration, title=title, is_of_service=True)
        self._changed.set()
        return run

    def take(self, run: Run) -> None:
        """Work on a run again, whoever began it."""
        self._attempts.pop(run.id, None)
        run.hand_to_service()
        self._changed.set()

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
            except BackendError as error:  # a folder that cannot be read, which /api/runs tells as well
                logger.debug("no runs: %s", error)
            except Exception:  # the edge of a thread that must go on
                logger.exception("runs cannot be supervised")
            self._changed.wait(self._look_every_s)
            self._changed.clear()

    def _next(self) -> Run | None:
        """The run that has waited longest; none while nobody told where Label Studio is."""
        if not self._access.is_known:
            return None
        ours = [run for run in reversed(self._runs.runs()) if run.is_of_service]
        return next((run for run in ours if run.progress().state in WAITING and not run.is_held), None)

    def _work_on(self, run: Run) -> None:
        """Let a worker do what is wanted of the run, and wait for it."""
        counts = run.progress().counts
        done = counts.done + counts.undone
        earlier, attempts = self._attempts.get(run.id, (done, 0))
        attempts = attempts + 1 if done == earlier else 1
        self._attempts[run.id] = done, attempts
        if attempts > MOST_ATTEMPTS:
            run.end("failed", f"its worker ended {MOST_ATTEMPTS} times without a word; the backend's log tells more")
            return
        command = [sys.executable, "-m", "sam_backend.bulk.run_worker", str(self._folder), run.id]
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
        ended = run.progress()
        what = f"{ended.counts.written} written, {ended.counts.skipped} skipped, {ended.counts.failed} failed"
        logger.info("run %s is %s: %s %s (exit code %d)", run.id, ended.state, what, ended.message, code)
        if ended.state not in WAITING:
            self._attempts.pop(run.id, None)

    def _worker_environment(self) -> dict[str, str]:
        """Address and token go by the environment: arguments are shown to everyone by ps."""
        threads = str(max(1, (os.cpu_count() or 2) - 1))  # a core stays for clicks
        limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
        return {**limits, **self._environ, **self._access.child_environment()}
