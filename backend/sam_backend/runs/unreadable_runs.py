"""Runs whose ledger cannot be read: a damaged file is moved into the subfolder `damaged`, its cause beside it.

Nothing is deleted: the predictions stay in Label Studio, and a new run with the policy `skip` passes over them.
"""

import fcntl
import logging
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

DAMAGED = "damaged"
BESIDE_THE_LEDGER = ("-wal", "-shm")  # SQLite's own files


@dataclass(frozen=True)
class UnreadableRun:
    """A run that can neither be shown nor worked on, and why."""

    id: str
    cause: str
    is_set_aside: bool  # moved into the subfolder; else the file is where it was

    def to_json(self) -> dict[str, object]:
        """The entry of `unreadable` in GET /api/runs."""
        return {"id": self.id, "cause": self.cause, "is_set_aside": self.is_set_aside}


def set_aside(ledger: Path, cause: str) -> UnreadableRun:
    """Move a damaged ledger into the subfolder, unless a process works on it or the folder cannot be written."""
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
        logger.debug("run %s cannot be set aside: %s", run_id, error)
        return UnreadableRun(run_id, cause, is_set_aside=False)
    for suffix in BESIDE_THE_LEDGER:
        with suppress(OSError):
            ledger.with_name(ledger.name + suffix).replace(folder / (ledger.name + suffix))
    with suppress(OSError):
        ledger.with_suffix(".lock").unlink()
    logger.error("run %s is set aside in the subfolder %s of the runs' folder: %s", run_id, DAMAGED, cause)
    return UnreadableRun(run_id, cause, is_set_aside=True)


def runs_set_aside(folder: Path) -> list[UnreadableRun]:
    """Return the runs in the subfolder, in the order of their ids."""
    found = []
    for path in sorted((folder / DAMAGED).glob("*.sqlite3")):
        try:
            cause = path.with_suffix(".cause").read_text(errors="replace")
        except OSError:
            cause = "its cause was not kept"
        found.append(UnreadableRun(path.stem, cause, is_set_aside=True))
    return found


def is_locked(lock: Path) -> bool:
    """Return whether a process holds the lock of a run."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is no lock yet, or it cannot be read
        return False
    return False
