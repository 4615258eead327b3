"""A run's book: one SQLite file that says for every task what became of it, whenever the process is killed.

Every change is one transaction, and the counts change with the rows they count, so that reading them costs nothing.
"""

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

PENDING, SENDING, WRITTEN, SKIPPED, FAILED, UNDONE = range(6)
COUNTED = {WRITTEN: "written", SKIPPED: "skipped", FAILED: "failed", UNDONE: "undone"}
BUSY_TIMEOUT_S = 20.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS run (
    id TEXT NOT NULL, configuration TEXT NOT NULL, project INTEGER NOT NULL, digest TEXT NOT NULL,
    is_of_service INTEGER NOT NULL DEFAULT 0, title TEXT NOT NULL, version TEXT NOT NULL,
    labeling_config TEXT NOT NULL DEFAULT '',
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


class Ledger:
    """One run's file; threads may share one, and several processes may have it open.

    Who only looks opens the file for each look, so that a thousand runs need no thousand open files; who works on the
    run keeps it open.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._kept: sqlite3.Connection | None = None

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Keep the file open for a while, to be quick."""
        with self._lock:
            self._kept = self._connect()
        try:
            yield
        finally:
            with self._lock:
                self._kept.close()
                self._kept = None

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        database.row_factory = sqlite3.Row
        database.execute("PRAGMA synchronous = NORMAL")  # survives kill -9; a power cut may cost the last second
        return database

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._kept is not None:
                yield self._kept
            else:
                with closing(self._connect()) as database:
                    yield database

    def create_run(self, fields: Mapping[str, Any]) -> None:
        """Write the run's own row."""
        names = ", ".join(fields)
        marks = ", ".join("?" for _ in fields)
        with self._reading() as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.executescript(SCHEMA)
            database.execute(f"INSERT INTO run ({names}) VALUES ({marks})", tuple(fields.values()))  # noqa: S608

    def run(self) -> sqlite3.Row:
        """The run's own row."""
        with self._reading() as database:
            row: sqlite3.Row = database.execute("SELECT * FROM run").fetchone()
        return row

    def set_run(self, **fields: Any) -> None:
        """Change columns of the run's row; the names come from this package's code only."""
        changes = ", ".join(f"{name} = ?" for name in fields)
        with self._transaction() as database:
            database.execute(f"UPDATE run SET {changes}", tuple(fields.values()))  # noqa: S608

    def labels(self) -> dict[str, int]:
        """Objects by label."""
        with self._reading() as database:
            rows = database.execute("SELECT name, objects FROM label ORDER BY objects DESC, name").fetchall()
        return {str(row["name"]): int(row["objects"]) for row in rows}

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
        return [int(row["id"]) for row in rows]

    def failures(self, limit: int) -> list[tuple[int, str]]:
        """The first failed tasks and why."""
        with self._reading() as database:
            rows = database.execute(
                "SELECT id, reason FROM task WHERE state = ? ORDER BY id LIMIT ?", (FAILED, limit)
            ).fetchall()
        return [(int(row["id"]), str(row["reason"] or "")) for row in rows]

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
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")


def now() -> float:
    """Seconds since 1970."""
    return time.time()
