"""Ledger of a run: one SQLite file with the state of every task, which survives a killed process.

Every change is one transaction. Counts are stored and change together with the rows they count, so reading them is
cheap.

The schema's version is SQLite's `user_version`. Files of an older schema are migrated when they are opened; files of a
newer one are refused and not changed. SQLite's errors become two of ours: the file is damaged (`LedgerDamagedError`,
permanent), or it cannot be used now (`LedgerUnavailableError`: disk full, folder read-only, locked).
"""

import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sam_backend.errors import BackendError

PENDING, SENDING, WRITTEN, SKIPPED, FAILED, UNDONE = range(6)
COUNTED = {WRITTEN: "written", SKIPPED: "skipped", FAILED: "failed", UNDONE: "undone"}
BUSY_TIMEOUT_S = 20.0
SCHEMA_VERSION = 2
MTIME_GRANULARITY_NS = 1_000_000_000  # a file changed more recently may change again with the same change time

SCHEMA = """
CREATE TABLE IF NOT EXISTS run (
    id TEXT NOT NULL, configuration TEXT NOT NULL, project INTEGER NOT NULL, digest TEXT NOT NULL,
    is_of_service INTEGER NOT NULL DEFAULT 0, title TEXT NOT NULL, version TEXT NOT NULL,
    labeling_config TEXT NOT NULL DEFAULT '',
    installation TEXT NOT NULL DEFAULT '', project_created_at TEXT NOT NULL DEFAULT '',
    created_at REAL NOT NULL, started_at REAL, ended_at REAL,
    state TEXT NOT NULL, wish TEXT NOT NULL DEFAULT 'go', message TEXT NOT NULL DEFAULT '',
    last_listed INTEGER NOT NULL DEFAULT 0, is_listed INTEGER NOT NULL DEFAULT 0,
    listed INTEGER NOT NULL DEFAULT 0, sent_at REAL NOT NULL DEFAULT 0, rate REAL NOT NULL DEFAULT 0,
    total INTEGER, written INTEGER NOT NULL DEFAULT 0, skipped INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0, empty INTEGER NOT NULL DEFAULT 0, objects INTEGER NOT NULL DEFAULT 0,
    undone INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS label (name TEXT PRIMARY KEY, objects INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS task (
    id INTEGER PRIMARY KEY, state INTEGER NOT NULL, objects INTEGER NOT NULL DEFAULT 0, reason TEXT
);
CREATE INDEX IF NOT EXISTS unfinished ON task (state, id) WHERE state IN (0, 1, 4);
"""


# version -> statements that migrate a file of the version before; version 1 had no user_version
MIGRATIONS = {
    2: (
        "ALTER TABLE run ADD COLUMN installation TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE run ADD COLUMN project_created_at TEXT NOT NULL DEFAULT ''",
    ),
}
ADDED_COLUMNS = {
    "installation": "",
    "project_created_at": "",
}  # defaults for a read-only file, which cannot be migrated
NUMBERS = (
    *("project", "created_at", "last_listed", "is_listed", "listed", "sent_at", "rate", "is_of_service"),
    *("written", "skipped", "failed", "empty", "objects", "undone"),
)
NUMBERS_OR_NONE = ("started_at", "ended_at", "total")
TEXTS = ("id", "configuration", "digest", "title", "version", "labeling_config", "message", *ADDED_COLUMNS)
REQUESTED_ACTIONS = ("go", "pause", "cancel", "undo")  # column `wish`; "go" is resume
STATES = ("queued", "running", "paused", "cancelled", "finished", "failed", "undoing", "undone")
DAMAGING = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)
SHORT_READ = sqlite3.SQLITE_IOERR_SHORT_READ

Row = Mapping[str, Any]


class LedgerDamagedError(BackendError):
    """The file is damaged, or not a ledger."""

    status = 409


class LedgerNewerError(BackendError):
    """A newer version of this program wrote the file."""

    status = 409


class LedgerUnavailableError(BackendError):
    """The file cannot be read or written now; its content is not damaged."""

    status = 503


class Ledger:
    """One run's file; threads may share an instance, and several processes may have the file open.

    A reader opens the file for each read, so that a thousand runs do not need a thousand open files, and reads the
    run's row again only if the file has changed. The process that works on the run keeps the file open.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log_path = path.with_name(f"{path.name}-wal")
        self._lock = threading.RLock()
        self._open: sqlite3.Connection | None = None
        self._cached: tuple[object, Row, dict[str, int]] | None = None  # the file's state, with its row and labels

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Check the file and keep it open until the end of the block, for fast access.

        Raises:
            LedgerDamagedError: the file is damaged.
        """
        with self._lock, self._translated():
            self._open = self._connect()
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._open.close()
                self._open = None

    def check(self) -> None:
        """Check the whole file.

        Raises:
            LedgerDamagedError: the file's structure or a task's values are wrong.
        """
        with self._reading() as database:
            (found,) = database.execute("PRAGMA integrity_check(1)").fetchone()
            if found != "ok":
                raise LedgerDamagedError(f"the ledger {self._path.name} is damaged: {_one_line(found)}")
            wrong = database.execute(
                "SELECT id FROM task WHERE typeof(objects) != 'integer' OR state NOT BETWEEN 0 AND 5 LIMIT 1"
            ).fetchone()
            if wrong is not None:
                raise LedgerDamagedError(
                    f"the ledger {self._path.name} is damaged: task {wrong['id']} has an unknown state"
                )

    def _connect(self) -> sqlite3.Connection:
        try:
            return self._connect_as("rw")
        except sqlite3.OperationalError:
            if os.access(self._path.parent, os.W_OK):
                raise
            return self._connect_as("ro&immutable=1")  # the folder is read-only, so no other process writes

    def _connect_as(self, mode: str) -> sqlite3.Connection:
        # a URI, because sqlite3.connect creates a missing file
        database = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            database.row_factory = sqlite3.Row
            database.execute("PRAGMA synchronous = NORMAL")  # survives kill -9; a power cut may lose the last second
            if mode == "rw":
                self._migrate(database)
        except BaseException:
            database.close()
            raise
        return database

    def _migrate(self, database: sqlite3.Connection) -> None:
        version = _version(database)
        if version > SCHEMA_VERSION:
            raise LedgerNewerError(
                f"the ledger {self._path.name} has schema version {version}, this program supports up to "
                f"{SCHEMA_VERSION}; use the newer version of label-studio-sam that wrote it"
            )
        if version == SCHEMA_VERSION:
            return
        database.execute("BEGIN IMMEDIATE")
        try:
            for wanted in range(
                max(_version(database), 1) + 1, SCHEMA_VERSION + 1
            ):  # another process may have migrated it meanwhile
                for statement in MIGRATIONS[wanted]:
                    database.execute(statement)
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        except BaseException:
            _roll_back(database)
            raise
        database.execute("COMMIT")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Translate SQLite's errors into ours."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
            if code & 0xFF in DAMAGING or code == SHORT_READ:
                raise LedgerDamagedError(f"the ledger {self._path.name} is damaged: {_one_line(error)}") from error
            raise LedgerUnavailableError(
                f"the ledger {self._path.name} cannot be used: {error}; check that the folder SAM_RUNS_DIR can be "
                "written and that its disk has free space"
            ) from error
        except UnicodeDecodeError as error:  # in a text of the file, or in SQLite's message about it
            raise LedgerDamagedError(f"the ledger {self._path.name} is damaged: a text is not UTF-8") from error

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._translated():
            if self._open is not None:
                yield self._open
            else:
                with closing(self._connect()) as database:
                    yield database

    def create_run(self, fields: Mapping[str, Any]) -> None:
        """Create the file with the run's row."""
        names = ", ".join(fields)
        placeholders = ", ".join("?" for _ in fields)
        with self._translated(), closing(sqlite3.connect(self._path, isolation_level=None)) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.executescript(SCHEMA)
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            database.execute(f"INSERT INTO run ({names}) VALUES ({placeholders})", tuple(fields.values()))  # noqa: S608

    def run(self) -> Row:
        """Return the run's row.

        Raises:
            LedgerDamagedError: the row is missing, or a value has the wrong type.
            LedgerNewerError: a newer version of this program wrote it.
            LedgerUnavailableError: the file cannot be read now.
        """
        return self._read()[0]

    def labels(self) -> dict[str, int]:
        """Return the number of objects per label, the most frequent first."""
        return self._read()[1]

    def _read(self) -> tuple[Row, dict[str, int]]:
        """Return the run's row and its labels, from the cache if the file has not changed."""
        with self._lock:
            state = None if self._open is not None else self._state()
            if self._cached is not None and state is not None and self._cached[0] == state:
                return self._cached[1], self._cached[2]
            with self._reading() as database:
                row = self._checked(database.execute("SELECT * FROM run").fetchone())
                labels = database.execute("SELECT name, objects FROM label ORDER BY objects DESC, name").fetchall()
                found = {str(each["name"]): each["objects"] for each in labels}
            if not all(isinstance(number, int) for number in found.values()):
                raise LedgerDamagedError(f"the ledger {self._path.name} is damaged: a label has no number")
            self._cached = (state, row, found) if state is not None and self._state() == state else None
            return row, found

    def _state(self) -> object:
        """Return sizes and change times of the file and its log; None if a further change might not change them."""
        try:
            found = [self._path.stat()]
            if self._log_path.exists():
                found.append(self._log_path.stat())
        except OSError:
            return None
        if max(each.st_mtime_ns for each in found) > time.time_ns() - MTIME_GRANULARITY_NS:
            return None
        return [(each.st_ino, each.st_size, each.st_mtime_ns) for each in found]

    def _checked(self, row: sqlite3.Row | None) -> Row:
        if row is None:
            raise LedgerDamagedError(f"the ledger {self._path.name} is damaged: it has no run")
        found = {**ADDED_COLUMNS, **dict(row)}
        numbers = all(isinstance(found.get(name), int | float) for name in NUMBERS)
        perhaps = all(isinstance(found.get(name, ""), int | float | None) for name in NUMBERS_OR_NONE)
        texts = all(isinstance(found.get(name), str) for name in TEXTS)
        if not (
            numbers and perhaps and texts and found.get("state") in STATES and found.get("wish") in REQUESTED_ACTIONS
        ):
            raise LedgerDamagedError(f"the ledger {self._path.name} is damaged: the run's row holds unknown values")
        return found

    def set_run(self, **fields: Any) -> None:
        """Set columns of the run's row; the names come only from this package's code."""
        changes = ", ".join(f"{name} = ?" for name in fields)
        with self._transaction() as database:
            database.execute(f"UPDATE run SET {changes}", tuple(fields.values()))  # noqa: S608

    def list_tasks(self, ids: Sequence[int], *, last_listed: int = 0, is_listed: bool, left: int = 0) -> None:
        """Record listed tasks as pending, the position of the listing, and the number of tasks after it."""
        with self._transaction() as database:
            before = database.total_changes
            database.executemany(
                "INSERT OR IGNORE INTO task (id, state) VALUES (?, ?)", [(task, PENDING) for task in ids]
            )
            new = database.total_changes - before
            database.execute(
                "UPDATE run SET last_listed = ?, is_listed = ?, listed = listed + ?, total = listed + ? + ?",
                (last_listed, int(is_listed), new, new, left),
            )

    def tasks_in(self, state: int, after: int = 0, limit: int = 100) -> list[int]:
        """Return the ids of tasks in a state after a task id, in ascending order."""
        with self._reading() as database:
            rows = database.execute(
                "SELECT id FROM task WHERE state = ? AND id > ? ORDER BY id LIMIT ?", (state, after, limit)
            ).fetchall()
        return [self._task_id(row) for row in rows]

    def last_written(self, limit: int) -> list[int]:
        """Return the largest ids of written tasks, in descending order."""
        with self._reading() as database:
            rows = database.execute(
                "SELECT id FROM task WHERE state = ? ORDER BY id DESC LIMIT ?", (WRITTEN, limit)
            ).fetchall()
        return [self._task_id(row) for row in rows]

    def failures(self, limit: int) -> list[tuple[int, str]]:
        """Return the first failed tasks with their reasons."""
        with self._reading() as database:
            rows = database.execute(
                "SELECT id, reason FROM task WHERE state = ? ORDER BY id LIMIT ?", (FAILED, limit)
            ).fetchall()
        return [(self._task_id(row), str(row["reason"] or "")) for row in rows]

    def _task_id(self, row: sqlite3.Row) -> int:
        found = row["id"]
        if not isinstance(found, int):
            raise LedgerDamagedError(f"the ledger {self._path.name} is damaged: a task has no id")
        return found

    def start_sending(self, objects: Mapping[int, int]) -> None:
        """Record that a batch is about to be sent; `objects` is task -> number of objects in its prediction."""
        with self._transaction() as database:
            database.executemany(
                "UPDATE task SET state = ?, objects = ? WHERE id = ?",
                [(SENDING, number, task) for task, number in objects.items()],
            )
            database.execute("UPDATE run SET sent_at = ?", (now(),))

    def back_to_pending(self, ids: Iterable[int]) -> None:
        """Make tasks pending again."""
        with self._transaction() as database:
            database.executemany("UPDATE task SET state = ? WHERE id = ?", [(PENDING, task) for task in ids])

    def finish(self, state: int, ids: Iterable[int], labels: Mapping[str, int] | None = None) -> None:
        """Record tasks as written, skipped or undone."""
        ids = list(ids)
        with self._transaction() as database:
            before = [
                database.execute("SELECT state, objects FROM task WHERE id = ?", (task,)).fetchone() for task in ids
            ]
            changed = [(task, row) for task, row in zip(ids, before, strict=True) if row and row["state"] != state]
            database.executemany("UPDATE task SET state = ? WHERE id = ?", [(state, task) for task, _ in changed])
            written = [row["objects"] for _, row in changed] if state == WRITTEN else []
            self._count(database, Counter({COUNTED[state]: len(changed)}))
            self._count(database, Counter({"objects": sum(written), "empty": sum(number == 0 for number in written)}))
            database.executemany(
                "INSERT INTO label VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET objects = objects + excluded.objects",
                list((labels or {}).items()),
            )

    def fail(self, reasons: Mapping[int, str]) -> None:
        """Record failed tasks with their reasons."""
        with self._transaction() as database:
            database.executemany(
                "UPDATE task SET state = ?, reason = ? WHERE id = ?",
                [(FAILED, reason, task) for task, reason in reasons.items()],
            )
            self._count(database, Counter({"failed": len(reasons)}))

    def retry_failed(self) -> int:
        """Make the failed tasks pending and return their number."""
        with self._transaction() as database:
            changed = database.execute("UPDATE task SET state = ?, reason = NULL WHERE state = ?", (PENDING, FAILED))
            number = changed.rowcount
            self._count(database, Counter({"failed": -number}))
        return number

    @staticmethod
    def _count(database: sqlite3.Connection, changes: Mapping[str, int]) -> None:
        for name, change in changes.items():
            if change:
                database.execute(f"UPDATE run SET {name} = {name} + ?", (change,))  # noqa: S608  # our own names

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._reading() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                _roll_back(database)
                raise


def _one_line(message: object) -> str:
    """Return SQLite's message as one printable line; it may quote the damaged file."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in str(message)).split())[:300]


def _version(database: sqlite3.Connection) -> int:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    return int(version)


def _roll_back(database: sqlite3.Connection) -> None:
    if database.in_transaction:  # after some errors, such as a full disk, SQLite has rolled back itself
        database.execute("ROLLBACK")


def now() -> float:
    """Return the time in seconds since 1970."""
    return time.time()
