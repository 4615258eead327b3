"""Where runs are kept: a folder with a ledger for each, and a lock that says whether somebody works on it."""

import fcntl
import json
import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sam_backend.bulk.configuration import RunConfiguration
from sam_backend.bulk.ledger import Ledger, now
from sam_backend.bulk.run_mark import new_run_id
from sam_backend.bulk.run_progress import ENDED, RunCounts, RunProgress
from sam_backend.errors import BackendError

logger = logging.getLogger(__name__)


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
        self._lock_path = path.with_suffix(".lock")
        self.ledger = Ledger(path)
        row = self.ledger.run()
        self.id = str(row["id"])
        self.configuration = RunConfiguration.from_json(json.loads(row["configuration"]))
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
        try:
            with self._lock_path.open("a") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Be the one that works on it; gone with the process, however that ends.

        Raises:
            RunHeldError: another process does.
        """
        with self._lock_path.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunHeldError(f"another process works on run {self.id}") from None
            with self.ledger.kept_open():
                yield

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
    """All runs of one machine, in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create(
        self, configuration: RunConfiguration, *, title: str = "", version: str = "", is_of_service: bool = False
    ) -> Run:
        """A new run, queued; one of the service goes on by itself after a restart.

        Raises:
            RunStoreError: the folder cannot be written to.
        """
        run_id = new_run_id()
        path = self._folder / f"{run_id}.sqlite3"
        half_done = path.with_suffix(".new")  # a run is there whole, or not at all
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            Ledger(half_done).create_run(
                {
                    "id": run_id,
                    "configuration": json.dumps(configuration.to_json()),
                    "project": configuration.project,
                    "digest": configuration.digest,
                    "title": title,
                    "version": version,
                    "created_at": now(),
                    "state": "queued",
                    "is_of_service": int(is_of_service),
                }
            )
            half_done.rename(path)
        except (OSError, sqlite3.Error) as error:
            raise RunStoreError(
                f"runs cannot be kept: {_reason(error)}; SAM_RUNS_DIR names a folder that can be written to"
            ) from error
        return Run(path)

    def runs(self) -> list[Run]:
        """All runs, the newest first."""
        found = [run for path in self._paths() if (run := _readable(path)) is not None]
        return sorted(found, key=lambda run: -run.created_at)

    def get(self, run_id: str) -> Run:
        """The run of this id, or the only one whose id begins so.

        Raises:
            UnknownRunError: none, or several.
        """
        paths = [path for path in self._paths() if run_id and path.stem.startswith(run_id)]
        if len(paths) != 1:
            what = "there is no run" if not paths else f"{len(paths)} runs begin with"
            raise UnknownRunError(f"{what} {run_id[:40]!r}; label-studio-sam runs list shows them")
        return Run(paths[0])

    def unfinished(self, configuration: RunConfiguration) -> Run | None:
        """The newest run that was asked for the same and has not ended."""
        return next((run for run in self.runs() if run.configuration == configuration and _is_unfinished(run)), None)

    def unfinished_of_project(self, project: int) -> Run | None:
        """The newest run of a project that has not ended."""
        return next((run for run in self.runs() if run.configuration.project == project and _is_unfinished(run)), None)

    def _paths(self) -> list[Path]:
        try:
            return [path for path in self._folder.glob("*.sqlite3") if os.access(path, os.R_OK | os.W_OK)]
        except OSError as error:
            raise RunStoreError(f"runs cannot be read: {_reason(error)}; SAM_RUNS_DIR names another folder") from error


def _readable(path: Path) -> Run | None:
    """The run in a file; None where it is none, which must not hide the others."""
    try:
        return Run(path)
    except (sqlite3.Error, IndexError, TypeError, ValueError, BackendError) as error:
        logger.debug("%s is no run of this version: %s", path.name, error)
        return None


def _is_unfinished(run: Run) -> bool:
    return run.progress().state not in ENDED


def _reason(error: Exception) -> str:
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)
