"""A run's ledger: one SQLite file that holds the state of every task, also after the process is killed.

Every change is one transaction, and the counts change with the rows they count, so that reading them costs nothing.

The schema's version is SQLite's `user_version`. Files of an older schema are migrated when they are opened, files of a
newer one are refused and left as they are. SQLite's errors become two of ours: the file is damaged
(`LedgerDamagedError`, trying again does not help), or it cannot be used now (`LedgerUnavailableError`: disk full,
folder read-only, locked).
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
RACY_NS = 1_000_000_000  # a file that changed less than this ago may change again without another change time

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


# version -> what brings a file of the version before to it; version 1 had no user_version
MIGRATIONS = {
    2: (
        "ALTER TABLE run ADD COLUMN installation TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE run ADD COLUMN project_created_at TEXT NOT NULL DEFAULT ''",
    ),
}
ADDED_COLUMNS = {"installation": "", "project_created_at": ""}  # of a file that cannot be migrated: read-only
NUMBERS = (
    *("project", "created_at", "last_listed", "is_listed", "listed", "sent_at", "rate", "is_of_service"),
    *("written", "skipped", "failed", "empty", "objects", "undone"),
)
NUMBERS_OR_NONE = ("started_at", "ended_at", "total")
TEXTS = ("id", "configuration", "digest", "title", "version", "labeling_config", "message", *ADDED_COLUMNS)
WISHES = ("go", "pause", "cancel", "undo")
STATES = ("queued", "running", "paused", "cancelled", "finished", "failed", "undoing", "undone")
DAMAGING = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)
SHORT_READ = sqlite3.SQLITE_IOERR_SHORT_READ

Row = Mapping[str, Any]


class LedgerDamagedError(BackendError):
    """The file is no ledger, or a damaged one."""

    status = 409


class LedgerNewerError(BackendError):
    """A newer version of this program wrote the file."""

    status = 409


class LedgerUnavailableError(BackendError):
    """The file cannot be read or written at the moment; nothing is wrong with what it holds."""

    status = 503


class Ledger:
    """One run's file; threads may share one, and several processes may have it open.

    A reader opens the file for each look, so that a thousand runs need no thousand open files, and reads the run's row
    again only after the file has changed. The process that works on the run keeps the file open.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log_path = path.with_name(f"{path.name}-wal")
        self._lock = threading.RLock()
        self._kept: sqlite3.Connection | None = None
        self._seen: tuple[object, Row, dict[str, int]] | None = None  # the file's state, and what it held then

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Keep the file open for a while, to be quick; check it first.

        Raises:
            LedgerDamagedError: the check found damage.
        """
        with self._lock, self._translated():
            self._kept = self._connect()
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._kept.close()
                self._kept = None

    def check(self) -> None:
        """Check the whole file.

        Raises:
            LedgerDamagedError: something is wrong, in the file's structure or with a task's values.
        """
        with self._reading() as database:
            (found,) = database.execute("PRAGMA integrity_check(1)").fetchone()
            if found != "ok":
                raise LedgerDamagedError(f"the ledger {self._path.name} is damaged: {_one_line(found)}")
            wrong = database.execute(
                "SELECT id FROM task WHERE typeof(objects) != 'integer' OR state NOT BETWEEN 0 AND 5 LIMIT 1"
            ).fetchone()
            if wrong is not None:
                raise LedgerDamagedError(f"the ledger {self._path.name} is damaged: task {wrong['id']} has no state")

    def _connect(self) -> sqlite3.Connection:
        try:
            return self._connect_as("rw")
        except sqlite3.OperationalError:
            if os.access(self._path.parent, os.W_OK):
                raise
            return self._connect_as("ro&immutable=1")  # a folder that cannot be written: nobody else writes either

    def _connect_as(self, mode: str) -> sqlite3.Connection:
        # a URI, because sqlite3.connect makes the file where it is missing
        database = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            database.row_factory = sqlite3.Row
            database.execute("PRAGMA synchronous = NORMAL")  # survives kill -9; a power cut may cost the last second
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
                f"the ledger {self._path.name} has schema version {version}, this program knows up to "
                f"{SCHEMA_VERSION}; use the newer version of label-studio-sam that wrote it"
            )
        if version == SCHEMA_VERSION:
            return
        database.execute("BEGIN IMMEDIATE")
        try:
            for wanted in range(max(_version(database), 1) + 1, SCHEMA_VERSION + 1):  # another process may be first
                for statement in MIGRATIONS[wanted]:
                    database.execute(statement)
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        except BaseException:
            _roll_back(database)
            raise
        database.execute("COMMIT")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise SQLite's errors as ours."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
            if code & 0xFF in DAMAGING or code == SHORT_READ:
                raise LedgerDamagedError(f"the ledger {self._path.name} is damaged: {_one_line(error)}") from error
            raise LedgerUnavailableError(
                f"the ledger {self._path.name} cannot be used: {error}; see that the disk of the folder that "
                "SAM_RUNS_DIR names has space and that the folder can be written"
            ) from error
        except UnicodeDecodeError as error:  # of a text in the file, or of SQLite's message about it
            raise LedgerDamagedError(f"the ledger {self._path.name} is damaged: a text is no UTF-8") from error

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._translated():
            if self._kept is not None:
                yield self._kept
            else:
                with closing(self._connect()) as database:
                    yield database

    def create_run(self, fields: Mapping[str, Any]) -> None:
        """Write the run's own row into a new file."""
        names = ", ".join(fields)
        marks = ", ".join("?" for _ in fields)
        with self._translated(), closing(sqlite3.connect(self._path, isolation_level=None)) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.executescript(SCHEMA)
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            database.execute(f"INSERT INTO run ({names}) VALUES ({marks})", tuple(fields.values()))  # noqa: S608

    def run(self) -> Row:
        """Return the run's own row.

        Raises:
            LedgerDamagedError: there is none, or a value in it is of the wrong kind.
            LedgerNewerError: a newer version of this program wrote it.
            LedgerUnavailableError: it cannot be read at the moment.
        """
        return self._look()[0]

    def labels(self) -> dict[str, int]:
        """Return objects by label, the most frequent first."""
        return self._look()[1]

    def _look(self) -> tuple[Row, dict[str, int]]:
        """Read the run's row and its labels, or return what was read when the file was last as it is now."""
        with self._lock:
            state = None if self._kept is not None else self._state()
            if self._seen is not None and state is not None and self._seen[0] == state:
                return self._seen[1], self._seen[2]
            with self._reading() as database:
                row = self._checked(database.execute("SELECT * FROM run").fetchone())
                labels = database.execute("SELECT name, objects FROM label ORDER BY objects DESC, name").fetchall()
                found = {str(each["name"]): each["objects"] for each in labels}
            if not all(isinstance(number, int) for number in found.values()):
                raise LedgerDamagedError(f"the ledger {self._path.name} is damaged: a label has no number")
            self._seen = (state, row, found) if state is not None and self._state() == state else None
            return row, found

    def _state(self) -> object:
        """Sizes and change times of the file and its log; None where another change may leave them as they are."""
        try:
            found = [self._path.stat()]
            if self._log_path.exists():
                found.append(self._log_path.stat())
        except OSError:
            return None
        if max(each.st_mtime_ns for each in found) > time.time_ns() - RACY_NS:
            return None
        return [(each.st_ino, each.st_size, each.st_mtime_ns) for each in found]

    def _checked(self, row: sqlite3.Row | None) -> Row:
        if row is None:
            raise LedgerDamagedError(f"the ledger {self._path.name} is damaged: it holds no run")
        found = {**ADDED_COLUMNS, **dict(row)}
        numbers = all(isinstance(found.get(name), int | float) for name in NUMBERS)
        perhaps = all(isinstance(found.get(name, ""), int | float | None) for name in NUMBERS_OR_NONE)
        texts = all(isinstance(found.get(name), str) for name in TEXTS)
        if not (numbers and perhaps and texts and found.get("state") in STATES and found.get("wish") in WISHES):
            raise LedgerDamagedError(f"the ledger {self._path.name} is damaged: the run's row holds unknown values")
        return found

    def set_run(self, **fields: Any) -> None:
        """Change columns of the run's row; the names come from this package's code only."""
        changes = ", ".join(f"{name} = ?" for name in fields)
        with self._transaction() as database:
            database.execute(f"UPDATE run SET {changes}", tuple(fields.values()))  # noqa: S608

    def list_tasks(self, ids: Sequence[int], *, last_listed: int = 0, is_listed: bool, left: int = 0) -> None:
        """Note tasks as to be done, how far the listing is, and how many tasks are left behind it."""
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
        """Ids of tasks in a state, behind a task id, in their order."""
        with self._reading() as database:
            rows = database.execute(
                "SELECT id FROM task WHERE state = ? AND id > ? ORDER BY id LIMIT ?", (state, after, limit)
            ).fetchall()
        return [self._task_id(row) for row in rows]

    def last_written(self, limit: int) -> list[int]:
        """Return the ids of the tasks behind which nothing is written, the last first."""
        with self._reading() as database:
            rows = database.execute(
                "SELECT id FROM task WHERE state = ? ORDER BY id DESC LIMIT ?", (WRITTEN, limit)
            ).fetchall()
        return [self._task_id(row) for row in rows]

    def failures(self, limit: int) -> list[tuple[int, str]]:
        """The first failed tasks and why."""
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
        """Before a batch is sent: its tasks, with the number of objects in each prediction."""
        with self._transaction() as database:
            database.executemany(
                "UPDATE task SET state = ?, objects = ? WHERE id = ?",
                [(SENDING, number, task) for task, number in objects.items()],
            )
            database.execute("UPDATE run SET sent_at = ?", (now(),))

    def back_to_pending(self, ids: Iterable[int]) -> None:
        """These are to be done (again)."""
        with self._transaction() as database:
            database.executemany("UPDATE task SET state = ? WHERE id = ?", [(PENDING, task) for task in ids])

    def finish(self, state: int, ids: Iterable[int], labels: Mapping[str, int] | None = None) -> None:
        """Tasks that are written, skipped or undone."""
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
        """Tasks that cannot be done, and why."""
        with self._transaction() as database:
            database.executemany(
                "UPDATE task SET state = ?, reason = ? WHERE id = ?",
                [(FAILED, reason, task) for task, reason in reasons.items()],
            )
            self._count(database, Counter({"failed": len(reasons)}))

    def retry_failed(self) -> int:
        """Make the failed tasks pending; how many there were."""
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


def _one_line(words: object) -> str:
    """Return SQLite's words as one printable line; they may quote the damaged file."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in str(words)).split())[:300]


def _version(database: sqlite3.Connection) -> int:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    return int(version)


def _roll_back(database: sqlite3.Connection) -> None:
    if database.in_transaction:  # after some errors, such as a full disk, SQLite has done so itself
        database.execute("ROLLBACK")


def now() -> float:
    """Seconds since 1970."""
    return time.time()
