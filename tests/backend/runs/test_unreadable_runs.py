"""Ledgers that are damaged, old, new, locked away or too large for the disk: they stop nothing but themselves."""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from sam_backend.diagnostics.health_monitor import check_runs
from sam_backend.errors import BackendError
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.runs.ledger import (
    SCHEMA_VERSION,
    WRITTEN,
    Ledger,
    LedgerDamagedError,
    LedgerNewerError,
    LedgerUnavailableError,
)
from sam_backend.runs.run_store import Run, RunStore, RunStoreError
from sam_backend.runs.unreadable_runs import DAMAGED
from sam_testing.first_ledger_schema import FIRST_SCHEMA


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def store(folder: Path) -> RunStore:
    return RunStore(folder)


def run_with_tasks(store: RunStore, tasks: int = 400) -> Run:
    run = store.create(RunConfiguration(1, label_map={"car": "Vehicle"}))
    run.ledger.list_tasks(range(1, tasks + 1), last_listed=tasks, is_listed=True)
    run.ledger.finish(WRITTEN, range(1, tasks // 2), {"Vehicle": tasks})
    return run


def ledger_of(folder: Path, run: Run) -> Path:
    return folder / f"{run.id}.sqlite3"


def test_a_ledger_of_the_first_schema_is_migrated_and_goes_on(store: RunStore, folder: Path) -> None:
    folder.mkdir()
    with closing(sqlite3.connect(folder / "251124-aaaaaa.sqlite3")) as old:
        old.executescript(FIRST_SCHEMA)

    (run,) = store.runs()

    assert run.configuration == RunConfiguration(3)
    assert (run.progress().state, run.progress().counts.written) == ("paused", 1)
    run.request("resume")
    with run.locked():
        run.ledger.finish(WRITTEN, [2])
    assert RunStore(folder).get(run.id).progress().counts.written == 2
    with closing(sqlite3.connect(folder / "251124-aaaaaa.sqlite3")) as migrated:
        assert migrated.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


def test_a_migrated_ledger_has_the_columns_of_a_new_one(store: RunStore, folder: Path) -> None:
    folder.mkdir()
    with closing(sqlite3.connect(folder / "251124-aaaaaa.sqlite3")) as old:
        old.executescript(FIRST_SCHEMA)
    new = store.create(RunConfiguration(1))

    assert set(store.get("251124-aaaaaa").ledger.run()) == set(new.ledger.run())


def test_a_ledger_of_a_newer_version_is_named_and_left_where_it_is(store: RunStore, folder: Path) -> None:
    run = run_with_tasks(store)
    with closing(sqlite3.connect(ledger_of(folder, run))) as newer:
        newer.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")

    other = store.create(RunConfiguration(2))
    (unreadable,) = store.unreadable()

    assert [one.id for one in store.runs()] == [other.id]
    assert (unreadable.id, unreadable.is_set_aside) == (run.id, False)
    assert "newer version" in unreadable.cause
    assert ledger_of(folder, run).exists()
    with pytest.raises(LedgerNewerError):
        store.get(run.id)


@pytest.mark.parametrize("damage", ["no database", "empty", "truncated", "no column", "no table", "no row", "values"])
def test_a_damaged_ledger_is_set_aside_and_hides_no_other_run(store: RunStore, folder: Path, damage: str) -> None:
    run, other = run_with_tasks(store), store.create(RunConfiguration(2))
    path = ledger_of(folder, run)
    if damage in ("no database", "empty", "truncated"):
        content = path.read_bytes()
        path.write_bytes({"no database": b"x" * 5000, "empty": b""}.get(damage, content[: len(content) // 2 + 100]))
    else:
        change = {
            "no column": "ALTER TABLE run DROP COLUMN message",
            "no table": "DROP TABLE label",
            "no row": "DELETE FROM run",
            "values": "UPDATE run SET state = 'runniog'",
        }[damage]
        with closing(sqlite3.connect(path)) as database:
            database.execute(change)
            database.commit()

    assert [one.id for one in store.runs()] == [other.id]
    (unreadable,) = store.unreadable()

    assert (unreadable.id, unreadable.is_set_aside) == (run.id, True)
    assert unreadable.cause
    assert str(folder) not in unreadable.cause
    assert [one.id for one in RunStore(folder).unreadable()] == [run.id]
    assert not path.exists()
    assert (folder / DAMAGED / path.name).exists()
    with pytest.raises(LedgerDamagedError, match=f"run {run.id} cannot be used"):
        store.get(run.id)
    check = check_runs(store)
    assert not check.ok
    assert run.id in check.problem
    assert store.create(RunConfiguration(1)).progress().state == "queued"


def test_one_flipped_byte_anywhere_stops_nothing(store: RunStore, folder: Path, tmp_path: Path) -> None:
    run = run_with_tasks(store, tasks=2000)
    other = store.create(RunConfiguration(2))
    path, chance = ledger_of(folder, run), random.Random(7)
    whole = path.read_bytes()
    set_aside = found_at_work = 0

    for _ in range(300):
        shutil.rmtree(folder / DAMAGED, ignore_errors=True)
        place = chance.randrange(len(whole) if chance.random() < 0.8 else 4096)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << chance.randrange(8)]) + whole[place + 1 :])
        runs = {one.id: one.progress().to_json() for one in store.runs()}
        assert other.id in runs
        if run.id not in runs:
            set_aside += 1
            assert [one.id for one in store.unreadable()] == [run.id]
            continue
        try:
            with store.get(run.id).locked():
                pass
        except LedgerDamagedError:
            found_at_work += 1
            assert [one.id for one in store.unreadable()] == [run.id]

    assert set_aside > 10
    assert found_at_work > 10


def test_a_task_of_an_unknown_state_is_found_before_work_begins(store: RunStore, folder: Path) -> None:
    run = run_with_tasks(store)
    with closing(sqlite3.connect(ledger_of(folder, run))) as database:  # without the index that holds unfinished tasks
        database.execute("DROP INDEX unfinished")
        database.execute("UPDATE task SET state = 9 WHERE id = 1")
        database.commit()

    with pytest.raises(LedgerDamagedError), store.get(run.id).locked():
        pass

    assert [one.id for one in store.unreadable()] == [run.id]


def test_a_damaged_ledger_that_a_process_holds_is_not_moved(store: RunStore, folder: Path) -> None:
    run = run_with_tasks(store)
    with run.locked():
        path = ledger_of(folder, run)
        path.with_name(f"{path.name}-wal").unlink(missing_ok=True)
        path.write_bytes(b"x" * 5000)

        assert RunStore(folder).runs() == []
        (unreadable,) = RunStore(folder).unreadable()

        assert not unreadable.is_set_aside
        assert path.exists()


READ_ONLY = """
import os, sys
from pathlib import Path
from sam_backend.runs.run_store import RunStore
from sam_backend.diagnostics.health_monitor import check_runs
folder = Path(sys.argv[1])
if os.geteuid() == 0:  # root may write everywhere
    os.setgid(65534), os.setuid(65534)
store = RunStore(folder)
print([run.progress().counts.written for run in store.runs()], store.problem(), check_runs(store).problem, sep="|")
"""


def test_a_folder_that_became_read_only_is_named_and_its_runs_are_shown(store: RunStore, folder: Path) -> None:
    run_with_tasks(store)
    parents = [one for one in folder.parents if one.stat().st_uid == os.getuid() and not one.stat().st_mode & 0o001]
    modes = {one: one.stat().st_mode for one in [folder, *parents]}
    try:
        for parent in parents:
            parent.chmod(modes[parent] | 0o111)
        folder.chmod(0o555)

        program = subprocess.run(
            [sys.executable, "-c", READ_ONLY, folder], capture_output=True, text=True, check=False, timeout=60
        )
    finally:
        for one, mode in modes.items():
            one.chmod(mode)

    assert program.returncode == 0, program.stderr
    runs, problem, check = program.stdout.strip().split("|")
    assert runs == "[199]"
    assert problem == "the folder of the runs cannot be written"
    assert "no run can start or continue" in check


def test_a_folder_that_is_a_file_is_said_and_no_empty_list(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = RunStore(tmp_path / "file")

    with pytest.raises(RunStoreError, match="could not read the runs"):
        store.runs()
    assert "the folder of the runs cannot be used" in store.problem()
    assert not check_runs(store).ok


FULL_DISK = """
import resource, sys
from pathlib import Path
from sam_backend.runs.run_store import RunStore
run = RunStore(Path(sys.argv[1])).get(sys.argv[2])
with run.locked():
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    run.ledger.finish(2, [399])
"""


def test_a_full_disk_is_an_error_of_its_own_and_damages_nothing(store: RunStore, folder: Path) -> None:
    run = run_with_tasks(store)

    program = subprocess.run(
        [sys.executable, "-c", FULL_DISK, folder, run.id], capture_output=True, text=True, check=False, timeout=60
    )

    assert "LedgerUnavailableError: the ledger" in program.stderr
    assert "SAM_RUNS_DIR" in program.stderr
    with run.locked():
        run.ledger.finish(WRITTEN, [399])
    assert store.unreadable() == []
    assert run.progress().counts.written == 200


def test_listing_opens_only_the_ledgers_that_changed(
    store: RunStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [store.create(RunConfiguration(number)) for number in range(1, 6)]
    for run in runs:
        os.utime(ledger_of(folder, run), (1_000, 1_000))
    store.runs()
    opened: list[str] = []
    connect = Ledger._connect

    def counting(ledger: Ledger) -> sqlite3.Connection:
        opened.append(ledger._path.stem)
        return connect(ledger)

    monkeypatch.setattr(Ledger, "_connect", counting)

    assert [run.progress().state for run in store.runs()] == ["queued"] * 5
    assert opened == []
    RunStore(folder).get(runs[2].id).request("cancel")
    opened.clear()
    assert [run.id for run in store.runs() if run.progress().state == "cancelled"] == [runs[2].id]
    assert set(opened) == {runs[2].id}


def test_a_ledger_that_is_gone_is_unavailable_and_not_made_anew(store: RunStore, folder: Path) -> None:
    run = store.create(RunConfiguration(1))
    ledger_of(folder, run).unlink()

    with pytest.raises(LedgerUnavailableError):
        run.ledger.set_run(state="running")

    assert not ledger_of(folder, run).exists()
    assert isinstance(LedgerUnavailableError("x"), BackendError)
