"""The folder of the runs: a ledger for each, and a lock that says whether a process works on it.

A ledger that cannot be read stops nothing: it is set aside (`unreadable_runs`) or, where it was written by a newer
version of this program or cannot be opened at the moment, left where it is; `RunStore.unreadable` names it.
"""

import fcntl
import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from sam_backend.errors import BackendError
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.preannotation.provenance import new_run_id
from sam_backend.runs.ledger import Ledger, LedgerDamagedError, LedgerNewerError, LedgerUnavailableError, Row, now
from sam_backend.runs.origin import RunOrigin
from sam_backend.runs.progress import ENDED, RunCounts, RunProgress
from sam_backend.runs.unreadable_runs import UnreadableRun, is_locked, runs_set_aside, set_aside

LEAST_FREE_BYTES = 1 << 20  # less than this, and the next write may fail


class UnknownRunError(BackendError):
    """There is no such run."""

    status = 404


class RunStateError(BackendError):
    """What was asked for does not fit the state that the run is in."""

    status = 409


class RunHeldError(RunStateError):
    """Another process works on the run."""


class RunStoreError(BackendError):
    """The folder of the runs cannot be used."""

    status = 503


def runs_folder(chosen: Path | None, environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of the runs: the one that was chosen, else the one for a user's state (XDG base directories)."""
    state = Path(environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser())
    return chosen or state / "label-studio-sam" / "runs"


class Run:
    """One run: what it was asked to do, what became of it, and what people want of it now."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock_path = path, path.with_suffix(".lock")
        self.ledger = Ledger(path)
        row = self.ledger.run()
        self.id = str(row["id"])
        if self.id != path.stem:  # the id marks the run's predictions
            raise LedgerDamagedError(f"the ledger {path.name} is damaged: it holds run {self.id}")
        self.configuration = _configuration(row)
        self.created_at = float(row["created_at"])
        self.is_of_service = bool(row["is_of_service"])

    @property
    def wish(self) -> str:
        """What people want: go, pause, cancel or undo."""
        return str(self.ledger.run()["wish"])

    def ask(self, wish: str) -> None:
        """Say what is wanted; who works on the run sees it within a moment.

        Raises:
            RunStateError: the run is in a state where that makes no sense.
        """
        state = self.progress().state
        if wish == "go" and state in ("finished", "undone", "undoing"):
            raise RunStateError(f"run {self.id} is {state}: there is nothing to go on with")
        if wish in ("pause", "cancel") and state in (*ENDED, "undoing"):
            raise RunStateError(f"run {self.id} is {state}: there is nothing to {wish}")
        if wish == "undo" and state == "running":
            raise RunStateError(f"run {self.id} is running: cancel or pause it before it is undone")
        self.ledger.set_run(wish=wish)
        if state == "running":
            return
        if wish in ("pause", "cancel"):
            self.end("paused" if wish == "pause" else "cancelled")
        else:
            self.ledger.set_run(state="queued" if wish == "go" else "undoing", message="", ended_at=None)

    @property
    def origin(self) -> RunOrigin:
        """The Label Studio and the project that the run belongs to, as far as they are recorded."""
        row = self.ledger.run()
        return RunOrigin(
            str(row["installation"]), self.configuration.project, str(row["project_created_at"]), str(row["title"])
        )

    def record_origin(self, origin: RunOrigin) -> None:
        """Note the Label Studio and the project that the run belongs to."""
        self.ledger.set_run(installation=origin.installation, project_created_at=origin.created_at, title=origin.title)

    def hand_to_service(self) -> None:
        """Let the service work on it from now on, whoever began it."""
        self.ledger.set_run(is_of_service=1)
        self.is_of_service = True

    def end(self, state: str, message: str = "") -> None:
        """Note that nobody works on it any more, and why."""
        self.ledger.set_run(state=state, message=message, ended_at=now() if state in ENDED else None, rate=0.0)

    @property
    def is_held(self) -> bool:
        """Whether a process works on it at this moment."""
        return is_locked(self._lock_path)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Lock the run for this process, until the end of the block or of the process, and check its ledger.

        Raises:
            RunHeldError: another process works on it.
            LedgerDamagedError: the ledger is damaged; it is set aside.
            LedgerUnavailableError: the ledger cannot be opened at the moment.
        """
        try:
            file = self._lock_path.open("a")
        except OSError as error:
            raise LedgerUnavailableError(f"run {self.id} cannot be locked: {_reason(error)}") from error
        try:
            with file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise RunHeldError(f"another process works on run {self.id}") from None
                with self.ledger.kept_open():
                    yield
        except LedgerDamagedError as error:
            set_aside(self._path, str(error))
            raise

    def progress(self) -> RunProgress:
        """How far it is."""
        row = self.ledger.run()
        state = str(row["state"])
        if state == "running" and not self.is_held:
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
        """The first failed tasks and why."""
        return self.ledger.failures(limit)

    def retry(self) -> int:
        """Make the failed tasks pending again; how many there were.

        Raises:
            RunStateError: somebody works on it, or it is being undone.
        """
        state = self.progress().state
        if state in ("running", "undoing", "undone"):
            raise RunStateError(f"run {self.id} is {state}: its failed tasks can be tried again when it has ended")
        number = self.ledger.retry_failed()
        if number:
            self.ledger.set_run(wish="go", state="queued", message="", ended_at=None)
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
        """Return a new run, queued; one of the service goes on by itself after a restart.

        Without an origin the run is adopted by the Label Studio that works on it first.

        Raises:
            RunStoreError: the folder cannot be written to.
        """
        run_id = new_run_id()
        path = self._folder / f"{run_id}.sqlite3"
        half_done = path.with_suffix(".new")  # a run is there whole, or not at all
        text = json.dumps(configuration.to_json())
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            Ledger(half_done).create_run(
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
            half_done.rename(path)
        except (OSError, BackendError) as error:
            with suppress(OSError):
                half_done.unlink()
            raise RunStoreError(
                f"runs cannot be kept: {_reason(error)}; SAM_RUNS_DIR names a folder that can be written to"
            ) from error
        return Run(path)

    def problem(self) -> str:
        """Return why no new run can be kept, for people; empty where it can."""
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
        if space.f_bavail * space.f_frsize < LEAST_FREE_BYTES:
            return "the disk that holds the folder of the runs is full"
        return ""

    def runs(self) -> list[Run]:
        """Return all runs that can be read, the newest first.

        Raises:
            RunStoreError: the folder cannot be read.
        """
        return self._look()[0]

    def unreadable(self) -> list[UnreadableRun]:
        """Return the runs that cannot be read: those that were set aside, and those that are where they were.

        Raises:
            RunStoreError: the folder cannot be read.
        """
        in_place = [one for one in self._look()[1] if not one.is_set_aside]
        return [*in_place, *runs_set_aside(self._folder)]

    def get(self, run_id: str) -> Run:
        """Return the run of this id, or the only one whose id begins so.

        Raises:
            UnknownRunError: none, or several.
            BackendError: its ledger cannot be read.
        """
        paths = [path for path in self._paths() if run_id and path.stem.startswith(run_id)]
        if len(paths) != 1:
            if not paths:
                self._raise_where_set_aside(run_id)
            what = "there is no run" if not paths else f"{len(paths)} runs begin with"
            raise UnknownRunError(f"{what} {run_id[:40]!r}; label-studio-sam runs list shows them")
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
        """Return the newest run of a project that was asked for the same and has not ended."""
        return next((run for run in self._unfinished(origin) if run.configuration == configuration), None)

    def unfinished_of_project(self, origin: RunOrigin) -> Run | None:
        """Return the newest run of a project that has not ended."""
        return next(self._unfinished(origin), None)

    def _unfinished(self, origin: RunOrigin) -> Iterator[Run]:
        return (run for run in self.runs() if not run.origin.is_other(origin) and _is_unfinished(run))

    def _look(self) -> tuple[list[Run], list[UnreadableRun]]:
        """Return the runs, the newest first, and those that cannot be read."""
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
        """Return the run in a file, which is read again only after it has changed.

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
            return set()  # made with the first run
        except OSError as error:
            raise RunStoreError(f"runs cannot be read: {_reason(error)}; SAM_RUNS_DIR names another folder") from error


def _configuration(row: Row) -> RunConfiguration:
    try:
        is_whole = _digest(row["configuration"]) == row["digest"]
    except ValueError:
        is_whole = False
    if not is_whole:
        raise LedgerDamagedError("the ledger is damaged: the run's configuration is not what it was")
    try:
        return RunConfiguration.from_stored_json(json.loads(row["configuration"]))
    except BackendError as error:
        raise LedgerNewerError(f"another version of label-studio-sam wrote the run: {error}") from error


def _digest(configuration: str) -> str:
    """Return 16 hex digits of a configuration's JSON, whatever the order of its fields."""
    words = json.dumps(json.loads(configuration), sort_keys=True)
    return hashlib.sha256(words.encode()).hexdigest()[:16]


def _is_unfinished(run: Run) -> bool:
    return run.progress().state not in ENDED


def _reason(error: Exception) -> str:
    cause = error.__cause__ or error  # SQLite's own words
    return (cause.strerror or type(cause).__name__) if isinstance(cause, OSError) else str(cause)
