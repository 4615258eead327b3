"""Runs of one machine in one folder: each has a ledger and a lock file.

An unreadable ledger does not affect other runs. A damaged one is moved into a subfolder (`unreadable_runs`); one of a
newer version of this program, or one that cannot be opened now, stays in place. `RunStore.unreadable` lists them all.
"""

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from sam_backend.errors import BackendError
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.preannotation.provenance import new_run_id
from sam_backend.runs.ledger import Ledger, LedgerDamagedError, LedgerNewerError, LedgerUnavailableError, Row, now
from sam_backend.runs.origin import RunOrigin
from sam_backend.runs.progress import ENDED, RunCounts, RunProgress
from sam_backend.runs.run_lock import is_locked, locked_file
from sam_backend.runs.unreadable_runs import UnreadableRun, runs_set_aside, set_aside

STORED_RESUME = "go"  # in the ledger's column `wish`, for the action "resume"
MIN_FREE_BYTES = 1 << 20  # with less, the next write may fail


class UnknownRunError(BackendError):
    """No run has this id, or several have ids that begin so."""

    status = 404


class RunStateError(BackendError):
    """The requested action is not possible in the run's state."""

    status = 409


class RunLockedError(RunStateError):
    """Another process works on the run."""


class RunStoreError(BackendError):
    """The folder of the runs cannot be read or written."""

    status = 503


def runs_folder(chosen: Path | None, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the runs: the chosen one, else the one in the user's state folder (XDG base directories)."""
    state = Path(environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser())
    return chosen or state / "label-studio-sam" / "runs"


class Run:
    """A run: its configuration, its progress, and the action that was requested last."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock_path = path, path.with_suffix(".lock")
        self.ledger = Ledger(path)
        row = self.ledger.run()
        self.id = str(row["id"])
        if self.id != path.stem:  # the id is in the run's predictions
            raise LedgerDamagedError(f"the ledger {path.name} is damaged: it holds run {self.id}")
        self.configuration = _configuration(row)
        self.created_at = float(row["created_at"])

    @property
    def folder(self) -> Path:
        """The folder of the runs."""
        return self._path.parent

    def file_beside(self, suffix: str) -> Path:
        """Return the path of a file that belongs to the run, such as `.review.json`."""
        return self._path.with_suffix(suffix)

    @property
    def is_of_service(self) -> bool:
        """Return whether the service works on the run; another process may change that."""
        return bool(self.ledger.run()["is_of_service"])

    @property
    def requested_action(self) -> str:
        """The action that was requested last: resume (also of a new run), pause, cancel or undo."""
        stored = str(self.ledger.run()["wish"])
        return "resume" if stored == STORED_RESUME else stored

    def request(self, action: str) -> None:
        """Request to resume, pause, cancel or undo; the process that works on the run polls for it.

        Raises:
            RunStateError: the action is not possible in the run's state.
        """
        state = self.progress().state
        if action == "resume" and state in ("finished", "undone", "undoing"):
            raise RunStateError(f"run {self.id} is {state}: there is nothing to resume")
        if action in ("pause", "cancel") and state in (*ENDED, "undoing"):
            raise RunStateError(f"run {self.id} is {state}: there is nothing to {action}")
        if action == "undo" and self.configuration.purpose != "predictions":
            raise RunStateError(
                f"run {self.id} wrote no predictions; `label-studio-sam embeddings clear` removes what it stored"
            )
        if action == "undo" and state == "running":
            raise RunStateError(f"run {self.id} is running: cancel or pause it first")
        self.ledger.set_run(wish=STORED_RESUME if action == "resume" else action)
        if state == "running":
            return
        if action in ("pause", "cancel"):
            self.end("paused" if action == "pause" else "cancelled")
        else:
            self.ledger.set_run(state="queued" if action == "resume" else "undoing", message="", ended_at=None)

    @property
    def origin(self) -> RunOrigin:
        """The run's Label Studio and project; what is not recorded is empty."""
        row = self.ledger.run()
        return RunOrigin(
            str(row["installation"]), self.configuration.project, str(row["project_created_at"]), str(row["title"])
        )

    def record_origin(self, origin: RunOrigin) -> None:
        """Record the run's Label Studio and project."""
        self.ledger.set_run(installation=origin.installation, project_created_at=origin.created_at, title=origin.title)

    def assign_to_service(self) -> None:
        """Let the service work on the run, also if the command line started it."""
        self.ledger.set_run(is_of_service=1)

    def end(self, state: str, message: str = "") -> None:
        """Record the state in which work on the run ended, and a message for people."""
        self.ledger.set_run(state=state, message=message, ended_at=now() if state in ENDED else None, rate=0.0)

    @property
    def is_locked(self) -> bool:
        """Return whether a process works on the run."""
        return is_locked(self._lock_path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the run until the end of the block or of the process, and check its ledger.

        Raises:
            RunLockedError: another process works on the run.
            LedgerDamagedError: the ledger is damaged; it is set aside.
            LedgerUnavailableError: the ledger or the lock file cannot be opened now.
        """
        try:
            with self._file_locked(), self.ledger.kept_open():
                yield
        except LedgerDamagedError as error:
            set_aside(self._path, str(error))
            raise

    @contextmanager
    def _file_locked(self) -> Iterator[None]:
        with ExitStack() as stack:
            try:
                stack.enter_context(locked_file(self._lock_path))
            except BlockingIOError:
                raise RunLockedError(f"another process works on run {self.id}") from None
            except OSError as error:
                raise LedgerUnavailableError(f"could not lock run {self.id}: {_reason(error)}") from error
            yield

    def progress(self) -> RunProgress:
        """Return the run's state and counts."""
        row = self.ledger.run()
        state = str(row["state"])
        if state == "running" and not self.is_locked:
            state = "interrupted"
        return RunProgress(
            id=self.id,
            state=state,
            configuration=self.configuration,
            project_title=str(row["title"]),
            model_version=str(row["version"]),
            created_at=self.created_at,
            started_at=row["started_at"],
            ended_at=row["ended_at"],
            counts=RunCounts(
                *(row[name] for name in ("total", "written", "skipped", "failed", "empty", "objects", "undone"))
            ),
            labels=self.ledger.labels(),
            rate_per_s=float(row["rate"]),
            message=str(row["message"]),
            installation=str(row["installation"]),
        )

    def failures(self, limit: int = 100) -> list[tuple[int, str]]:
        """Return the first failed tasks with their reasons."""
        return self.ledger.failures(limit)

    def retry(self) -> int:
        """Make the failed tasks pending again and return their number.

        Raises:
            RunStateError: a process works on the run, or the run is undone.
        """
        state = self.progress().state
        if state in ("running", "undoing", "undone"):
            raise RunStateError(f"run {self.id} is {state}: its failed tasks can be retried when it has ended")
        number = self.ledger.retry_failed()
        if number:
            self.ledger.set_run(wish=STORED_RESUME, state="queued", message="", ended_at=None)
        return number


class RunStore:
    """All runs of one machine, in one folder; threads may share it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[Path, Run] = {}
        self._lock = threading.Lock()

    def create(
        self, configuration: RunConfiguration, origin: RunOrigin | None = None, *, is_of_service: bool = False
    ) -> Run:
        """Create a queued run; one of the service continues by itself after a restart.

        Without an origin, the first Label Studio that the run is worked on with adopts it.

        Raises:
            RunStoreError: the folder cannot be written.
        """
        run_id = new_run_id()
        path = self._folder / f"{run_id}.sqlite3"
        unfinished = path.with_suffix(".new")  # renamed when it is complete
        text = json.dumps(configuration.to_json())
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            Ledger(unfinished).create_run(
                {
                    "id": run_id,
                    "configuration": text,
                    "project": configuration.project,
                    "digest": _digest(text),
                    "title": "" if origin is None else origin.title,
                    "installation": "" if origin is None else origin.installation,
                    "project_created_at": "" if origin is None else origin.created_at,
                    "version": "",
                    "created_at": now(),
                    "state": "queued",
                    "is_of_service": int(is_of_service),
                }
            )
            unfinished.rename(path)
        except (OSError, BackendError) as error:
            with suppress(OSError):
                unfinished.unlink()
            raise RunStoreError(
                f"could not store a run: {_reason(error)}; set SAM_RUNS_DIR to a folder that can be written"
            ) from error
        return Run(path)

    def problem(self) -> str:
        """Return why no new run can be stored, as a message for people; empty if one can."""
        folder = self._folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with os.scandir(folder):
                pass
            space = os.statvfs(folder)
        except OSError as error:
            return f"the folder of the runs cannot be used: {_reason(error)}"
        if not os.access(folder, os.W_OK | os.X_OK):
            return "the folder of the runs cannot be written"
        if space.f_bavail * space.f_frsize < MIN_FREE_BYTES:
            return "the disk that holds the folder of the runs is full"
        return ""

    def runs(self) -> list[Run]:
        """Return all readable runs, the newest first.

        Raises:
            RunStoreError: the folder cannot be read.
        """
        return self._read_all()[0]

    def unreadable(self) -> list[UnreadableRun]:
        """Return the unreadable runs: those that were set aside, and those that stayed in place.

        Raises:
            RunStoreError: the folder cannot be read.
        """
        in_place = [one for one in self._read_all()[1] if not one.is_set_aside]
        return [*in_place, *runs_set_aside(self._folder)]

    def get(self, run_id: str) -> Run:
        """Return the run with this id, or the only one whose id begins with it.

        Raises:
            UnknownRunError: no run, or several.
            BackendError: its ledger cannot be read.
        """
        paths = [path for path in self._paths() if run_id and path.stem.startswith(run_id)]
        if len(paths) != 1:
            if not paths:
                self._raise_where_set_aside(run_id)
            what = "there is no run" if not paths else f"{len(paths)} runs begin with"
            raise UnknownRunError(f"{what} {run_id[:40]!r}; list the runs with `label-studio-sam runs list`")
        try:
            return self._run(paths[0])
        except LedgerDamagedError as error:
            set_aside(paths[0], str(error))
            raise

    def _raise_where_set_aside(self, run_id: str) -> None:
        for one in runs_set_aside(self._folder):
            if run_id and one.id.startswith(run_id):
                raise LedgerDamagedError(f"run {one.id} cannot be used: {one.cause}")

    def unfinished(self, configuration: RunConfiguration, origin: RunOrigin) -> Run | None:
        """Return the newest run of a project with this configuration that has not ended."""
        return next((run for run in self._unfinished(origin) if run.configuration == configuration), None)

    def unfinished_of_project(self, origin: RunOrigin) -> Run | None:
        """Return the newest run of a project that has not ended."""
        return next(self._unfinished(origin), None)

    def _unfinished(self, origin: RunOrigin) -> Iterator[Run]:
        return (run for run in self.runs() if not run.origin.is_other(origin) and _is_unfinished(run))

    def _read_all(self) -> tuple[list[Run], list[UnreadableRun]]:
        """Return the readable runs, the newest first, and the unreadable ones."""
        found, unreadable = [], []
        paths = self._paths()
        with self._lock:
            self._known = {path: run for path, run in self._known.items() if path in paths}
        for path in paths:
            try:
                found.append(self._run(path))
            except LedgerDamagedError as error:
                unreadable.append(set_aside(path, str(error)))
            except (LedgerNewerError, LedgerUnavailableError) as error:
                unreadable.append(UnreadableRun(path.stem, str(error), is_set_aside=False))
        return sorted(found, key=lambda run: -run.created_at), unreadable

    def _run(self, path: Path) -> Run:
        """Return the run in a file; an unchanged file is not read again.

        Raises:
            BackendError: the ledger cannot be read.
        """
        with self._lock:
            known = self._known.get(path)
        if known is not None:
            known.ledger.run()
            return known
        run = Run(path)
        with self._lock:
            return self._known.setdefault(path, run)

    def _paths(self) -> set[Path]:
        try:
            with os.scandir(self._folder) as entries:
                return {self._folder / one.name for one in entries if one.name.endswith(".sqlite3")}
        except FileNotFoundError:
            return set()  # the first run creates the folder
        except OSError as error:
            raise RunStoreError(
                f"could not read the runs: {_reason(error)}; set SAM_RUNS_DIR to a folder that can be read"
            ) from error


def _configuration(row: Row) -> RunConfiguration:
    try:
        is_whole = _digest(row["configuration"]) == row["digest"]
    except ValueError:
        is_whole = False
    if not is_whole:
        raise LedgerDamagedError("the ledger is damaged: the configuration does not match its digest")
    try:
        return RunConfiguration.from_stored_json(json.loads(row["configuration"]))
    except BackendError as error:
        raise LedgerNewerError(f"another version of label-studio-sam wrote the run: {error}") from error


def _digest(configuration: str) -> str:
    """Return 16 hex digits of a configuration's JSON, independent of the order of its fields."""
    sorted_json = json.dumps(json.loads(configuration), sort_keys=True)
    return hashlib.sha256(sorted_json.encode()).hexdigest()[:16]


def _is_unfinished(run: Run) -> bool:
    return run.progress().state not in ENDED


def _reason(error: Exception) -> str:
    cause = error.__cause__ or error  # SQLite's own message
    return (cause.strerror or type(cause).__name__) if isinstance(cause, OSError) else str(cause)
