"""A run goes on in its own Label Studio only; real HTTP between all parts."""

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sam_backend.commands.main import main
from sam_backend.label_studio.client import LabelStudioClient
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.label_studio.retry_policy import RetryPolicy
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.preannotation.provenance import region_id
from sam_backend.runs.ledger import PENDING, WRITTEN
from sam_backend.runs.origin import RunElsewhereError, RunOrigin, claim, installation_of
from sam_backend.runs.run_store import Run, RunStore
from sam_testing.backend_program import BackendProgram
from sam_testing.fake_label_studio import TOKEN, Store, fake_label_studio
from sam_testing.first_ledger_schema import FIRST_SCHEMA

VERSION = "label-studio-sam classical+classical 00000000"
CARS, BOATS = "2026-01-02T03:04:05.678901Z", "2026-05-06T07:08:09.123456Z"


@pytest.mark.parametrize(
    ("url", "installation"),
    [
        ("http://Label-Studio:80/", "http://label-studio"),
        ("https://name:secret@ls.example.:443/tools/", "https://ls.example/tools"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        (None, ""),
        ("ftp://x", ""),
    ],
)
def test_an_address_is_normalized_and_shows_no_password(url: str | None, installation: str) -> None:
    assert installation_of(url) == installation


def test_the_creation_time_decides_before_the_address() -> None:
    here = RunOrigin("http://a", 1, "2026-01-01", "Cars")

    assert not here.is_other(RunOrigin("http://b", 1, "2026-01-01"))
    assert here.is_other(RunOrigin("http://a", 1, "2026-01-02"))
    assert here.is_other(RunOrigin("http://a", 2, "2026-01-01"))
    assert here.is_other(RunOrigin("http://b", 1))
    assert not here.is_other(RunOrigin("", 1))


class Two:
    """Two Label Studios, each with a project 1, and the runs of one machine."""

    def __init__(self, cars: str, boats: str, folder: Path) -> None:
        self.cars, self.boats, self.folder = cars, boats, folder
        self.cars_store = self.boats_store = Store()

    def use(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = {"LABEL_STUDIO_URL": url, "LABEL_STUDIO_API_KEY": TOKEN, "SAM_RUNS_DIR": str(self.folder)}
        for variable, value in (settings | {"SAM_MODEL": "classical", "SAM_OFFLINE": "1"}).items():
            monkeypatch.setenv(variable, value)

    def claim(self, run: Run, url: str) -> None:
        claim(
            run,
            LabelStudioClient(LabelStudioCredentials(url, TOKEN)),
            url,
            RetryPolicy(lambda: False, 0, lambda words: None),
        )

    def cars_run(self, written: int = 0) -> Run:
        run = RunStore(self.folder).create(
            RunConfiguration(1, detector="everything", label_map={"object": "face"}),
            RunOrigin(self.cars, 1, "2026-01-02T03:04:05.678901+00:00", "Cars"),
        )
        for task in range(1, written + 1):
            run.ledger.list_tasks([task], last_listed=task, is_listed=False)
            run.ledger.finish(WRITTEN, [task])
            self.cars_store.add_prediction(task, result=[{"id": region_id(run.id, task, 0)}], model_version=VERSION)
        return run


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    cars, boats = Store(title="Cars", created_at=CARS), Store(title="Boats", created_at=BOATS)
    for each in (cars, boats):
        each.add_tasks(4)
    with fake_label_studio(cars) as cars_url, fake_label_studio(boats) as boats_url:
        found = Two(cars_url, boats_url, tmp_path / "runs")
        found.cars_store, found.boats_store = cars, boats
        yield found


def test_another_project_of_the_same_number_is_refused_and_both_are_named(two: Two) -> None:
    run = two.cars_run(written=2)

    with pytest.raises(RunElsewhereError) as raised:
        two.claim(run, two.boats)

    words = str(raised.value)
    assert f"belongs to project 1 'Cars' of {two.cars}, created 2026-01-02" in words
    assert f"this is project 1 'Boats' of {two.boats}, created 2026-05-06" in words
    assert run.origin.installation == two.cars
    two.claim(run, two.cars)


def test_the_same_address_with_another_database_is_refused(two: Two) -> None:
    run = two.cars_run()
    two.cars_store.created_at = BOATS

    with pytest.raises(RunElsewhereError):
        two.claim(run, two.cars)


def test_the_same_project_under_another_name_goes_on(two: Two) -> None:
    run, other_name = two.cars_run(written=4), two.cars.replace("127.0.0.1", "localhost")

    two.claim(run, other_name)

    assert run.origin.installation == other_name


def test_a_copy_of_the_database_without_the_predictions_is_refused(two: Two) -> None:
    run = two.cars_run(written=4)
    two.boats_store.created_at, two.boats_store.title = CARS, "Cars"

    with pytest.raises(RunElsewhereError):
        two.claim(run, two.boats)


def test_a_label_studio_without_such_a_project_is_named(two: Two) -> None:
    run = RunStore(two.folder).create(RunConfiguration(7), RunOrigin(two.cars, 7, "2026", "Trees"))

    with pytest.raises(RunElsewhereError, match="has no project 7 that this token may see"):
        two.claim(run, two.boats)


def legacy_run(two: Two, title: str, written: bool) -> Run:
    two.folder.mkdir()
    schema = FIRST_SCHEMA.replace('{"project": 3}', '{"project": 1}').replace("5943d40fa6a9047b", "1a093dcb5532b406")
    with closing(sqlite3.connect(two.folder / "251124-aaaaaa.sqlite3")) as old:
        old.executescript(schema.replace("'Cars'", f"'{title}'"))
        if not written:
            old.executescript("UPDATE task SET state = 0")
        old.commit()
    return RunStore(two.folder).get("251124-aaaaaa")


def test_a_run_of_the_first_schema_is_adopted_where_its_predictions_are(two: Two) -> None:
    run = legacy_run(two, "Renamed since", written=True)
    two.cars_store.add_prediction(1, result=[{"id": region_id(run.id, 1, 0)}], model_version=VERSION)

    with pytest.raises(RunElsewhereError, match="an unknown Label Studio"):
        two.claim(run, two.boats)
    two.claim(run, two.cars)

    assert run.origin == RunOrigin(two.cars, 1, "2026-01-02T03:04:05.678901+00:00", "Cars")


def test_a_run_of_the_first_schema_that_wrote_nothing_is_known_by_its_title(two: Two) -> None:
    run = legacy_run(two, "Cars", written=False)

    with pytest.raises(RunElsewhereError):
        two.claim(run, two.boats)
    two.claim(run, two.cars)

    assert run.origin.installation == two.cars


@pytest.mark.parametrize("action", ["resume", "retry", "undo"])
def test_the_command_line_refuses_elsewhere_and_changes_nothing(
    two: Two, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], action: str
) -> None:
    run = two.cars_run(written=2)
    run.ledger.list_tasks([3], last_listed=3, is_listed=False)
    run.ledger.fail({3: "gone"})
    run.end("paused")
    before = dict(run.ledger.run())
    two.use(two.boats, monkeypatch)

    code = main(["runs", action, run.id])

    said = capsys.readouterr().err
    assert code == 2
    assert two.cars in said
    assert two.boats in said
    assert said.count("\n") == 1
    assert run.ledger.run() == before
    assert two.boats_store.predictions == {}
    assert main(["runs", "list"]) == 0
    assert two.cars in capsys.readouterr().out


def test_the_same_command_in_another_label_studio_begins_a_run_of_its_own(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = two.cars_run()
    two.use(two.boats, monkeypatch)

    code = main(["preannotate", "--project", "1", "--detector", "everything", "--map", "object=face"])

    assert code == 0
    assert {task: len(found) for task, found in two.boats_store.predictions.items()} == dict.fromkeys(range(1, 5), 1)
    assert two.cars_store.predictions == {}
    assert run.progress().state == "queued"
    assert run.ledger.tasks_in(PENDING) == []
    assert len(RunStore(two.folder).runs()) == 2


def test_a_service_with_another_label_studio_leaves_the_run_alone_until_its_own_is_back(
    two: Two, tmp_path: Path
) -> None:
    two.cars_store.add_tasks(1996)
    settings = {"LABEL_STUDIO_API_KEY": TOKEN, "SAM_RUNS_DIR": str(two.folder)}
    backend = BackendProgram(tmp_path / "log", LABEL_STUDIO_URL=two.cars, **settings)
    try:
        run_id = backend.ask("/api/runs", {"project": 1, "detector": "boxes"})[1]["run"]["id"]
        backend.wait_until(lambda: 0 < len(two.cars_store.predictions) < 2000)
        worker = int(Path(f"/proc/{backend.process.pid}/task/{backend.process.pid}/children").read_text())
        backend.stop(signal.SIGKILL)
        os.kill(worker, signal.SIGKILL)
    finally:
        backend.stop()

    elsewhere = BackendProgram(tmp_path / "log", LABEL_STUDIO_URL=two.boats, **settings)
    try:
        elsewhere.wait_until(lambda: two.boats in elsewhere.ask(f"/api/runs/{run_id}")[1]["run"]["message"])
        status, refused = elsewhere.ask(f"/api/runs/{run_id}/resume", {})
        undo = elsewhere.ask(f"/api/runs/{run_id}/undo", {})[0]
        (listed,) = elsewhere.ask("/api/runs")[1]["runs"]
        own = elsewhere.ask("/api/runs", {"project": 1, "detector": "boxes"})[1]["run"]["id"]
        elsewhere.wait_for(own, "finished", "failed")
    finally:
        elsewhere.stop()

    assert (status, undo) == (409, 409)
    assert two.cars in refused["error"]
    assert (listed["state"], listed["installation"]) == ("interrupted", two.cars)
    assert {len(found) for found in two.boats_store.predictions.values()} == {1}
    assert len(two.boats_store.predictions) == 4

    backend = BackendProgram(tmp_path / "log", LABEL_STUDIO_URL=two.cars, **settings)
    try:
        backend.wait_for(run_id, "finished", "failed")
    finally:
        backend.stop()
    assert {task: len(found) for task, found in two.cars_store.predictions.items()} == dict.fromkeys(range(1, 2001), 1)
