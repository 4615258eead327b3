"""Runs with an unreadable ledger: a damaged file is moved into the subfolder `damaged`, next to a file with the cause.

Nothing is deleted: the predictions stay in Label Studio, and a new run with the policy `skip` skips their tasks.
"""

import logging
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sam_backend.runs.run_lock import is_locked

logger = logging.getLogger(__name__)

DAMAGED = "damaged"
SQLITE_SUFFIXES = ("-wal", "-shm")  # SQLite's own files


@dataclass(frozen=True)
class UnreadableRun:
    """A run that can neither be shown nor worked on, with the cause."""

    id: str
    cause: str
    is_set_aside: bool  # moved into the subfolder; else the file was not moved

    def to_json(self) -> dict[str, object]:
        """Return the entry of `unreadable` in GET /api/runs."""
        return {"id": self.id, "cause": self.cause, "is_set_aside": self.is_set_aside}


def set_aside(ledger: Path, cause: str) -> UnreadableRun:
    """Move a damaged ledger into the subfolder, unless a process works on it or the folder is not writable."""
    run_id, folder = ledger.stem, ledger.parent / DAMAGED
    if is_locked(ledger.with_suffix(".lock")):
        return UnreadableRun(run_id, cause, is_set_aside=False)
    try:
        folder.mkdir(exist_ok=True)
        (folder / f"{run_id}.cause").write_text(cause)
        ledger.replace(folder / ledger.name)
    except FileNotFoundError:  # another process was first
        return UnreadableRun(run_id, cause, is_set_aside=True)
    except OSError as error:
        logger.debug("could not set run %s aside: %s", run_id, error)
        return UnreadableRun(run_id, cause, is_set_aside=False)
    for suffix in SQLITE_SUFFIXES:
        with suppress(OSError):
            ledger.with_name(ledger.name + suffix).replace(folder / (ledger.name + suffix))
    with suppress(OSError):
        ledger.with_suffix(".lock").unlink()
    logger.error("set run %s aside in the subfolder %s of the runs folder: %s", run_id, DAMAGED, cause)
    return UnreadableRun(run_id, cause, is_set_aside=True)


def runs_set_aside(folder: Path) -> list[UnreadableRun]:
    """Return the runs in the subfolder, in the order of their ids."""
    found = []
    for path in sorted((folder / DAMAGED).glob("*.sqlite3")):
        try:
            cause = path.with_suffix(".cause").read_text(errors="replace")
        except OSError:
            cause = "the cause was not stored"
        found.append(UnreadableRun(path.stem, cause, is_set_aside=True))
    return found
