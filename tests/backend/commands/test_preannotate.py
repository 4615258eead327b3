import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sam_backend.commands.main import main
from sam_backend.runs.run_store import RunStore
from sam_testing.fake_label_studio import TOKEN, Store, fake_label_studio

EVERYTHING = [
    "preannotate",
    "--project",
    "1",
    "--detector",
    "everything",
    "--map",
    "object=face",
    "--points-per-side",
    "6",
]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    store = Store()
    with fake_label_studio(store) as url:
        settings = {
            "LABEL_STUDIO_URL": url,
            "LABEL_STUDIO_API_KEY": TOKEN,
            "SAM_MODEL": "classical",
            "SAM_OFFLINE": "1",
        }
        for variable, value in {**settings, "SAM_RUNS_DIR": str(tmp_path / "runs")}.items():
            monkeypatch.setenv(variable, value)
        yield store


def test_a_project_is_predicted_and_the_summary_says_what_was_written(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    store.add_tasks(2)
    store.tasks[2] = {"image": "data:image/png;base64,AAAA"}

    code = main(EVERYTHING)

    said, errors = capsys.readouterr()
    assert code == 1  # a task failed
    assert "finished: 1 written, 0 skipped, 1 failed" in said
    assert "face" in said
    assert "  task 2: " in said
    assert "labels: object as face" in errors


def test_json_is_all_there_is_on_standard_output(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    store.add_tasks(2)

    code = main([*EVERYTHING, "--json"])

    said, errors = capsys.readouterr()
    assert code == 0
    assert errors == ""
    assert json.loads(said)["run"]["counts"]["written"] == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--ids", "1,x"], "--ids 1,x: 'x' is not the number of a task"),
        (["--map", "car"], "'car' is not NAME=VALUE"),
        (["--label-threshold", "face=sure"], "'sure' is not a number"),
        (["--conf", "3"], "score_threshold"),
        (["--policy", "replace"], "policy='replace' is not one of skip, replace-own, add"),
        (["--dry-run", "0"], "--dry-run 0 is less than 1"),
    ],
)
def test_bad_input_is_named_in_one_line_and_the_code_is_2(
    store: Store, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    code = main(["preannotate", "--project", "1", *arguments])

    said, errors = capsys.readouterr()
    assert code == 2
    assert said == ""
    assert words in errors
    assert errors.count("\n") == 1


def test_an_unknown_detector_names_those_that_there_are(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    store.add_tasks(1)

    code = main(["preannotate", "--project", "1", "--detector", "yolov9"])

    assert code == 1
    errors = capsys.readouterr().err
    assert (
        "detector='yolov9' is neither a detector nor a file; known: everything, boxes, exemplars, classical" in errors
    )
    assert store.imports == 0


@pytest.mark.parametrize("variable", ["LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"])
def test_a_missing_setting_is_named(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str
) -> None:
    monkeypatch.delenv(variable)

    assert main(EVERYTHING) == 2

    assert variable in capsys.readouterr().err


def test_a_dry_run_draws_and_writes_nothing(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store.add_tasks(4)

    code = main([*EVERYTHING, "--dry-run", "2", "--out", str(tmp_path / "drawn")])

    assert code == 0
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["task-1.jpg", "task-3.jpg"]
    assert "2 of 4 tasks drawn" in capsys.readouterr().out
    assert store.predictions == {}
    assert RunStore(tmp_path / "runs").runs() == []


def test_runs_are_listed_shown_and_undone(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store.add_tasks(2)
    main(EVERYTHING)
    (run,) = RunStore(tmp_path / "runs").runs()
    capsys.readouterr()

    codes = [main(["runs", action, *([run.id] if action != "list" else [])]) for action in ("list", "show", "retry")]
    said = capsys.readouterr().out
    undo = main(["runs", "undo", run.id])

    assert codes == [0, 0, 0]
    assert "everything + classical" in said
    assert "2/2" in said
    assert "no task failed" in said
    assert undo == 0
    assert "2 predictions removed" in capsys.readouterr().out
    assert not any(store.predictions.values())
    assert main(["runs", "pause", run.id]) == 2
    assert f"run {run.id} is undone: there is nothing to pause" in capsys.readouterr().err
    assert main(["runs", "show", "none"]) == 2


def _begun(store: Store, folder: Path, written: int) -> "subprocess.Popen[str]":
    """The command as a program, with so many tasks written."""
    command = [sys.executable, "-m", "sam_backend.commands.main", *EVERYTHING]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while sum(map(len, store.predictions.values())) < written:
        assert time.monotonic() < end
        assert program.poll() is None, program.communicate()
        time.sleep(0.05)
    return program


def test_ctrl_c_pauses_and_the_same_command_goes_on(store: Store, tmp_path: Path) -> None:
    store.add_tasks(20)
    program = _begun(store, tmp_path, 5)

    program.send_signal(signal.SIGINT)
    said, errors = program.communicate(timeout=30)
    assert program.returncode == 130, errors
    assert "runs resume" in said
    code = main(EVERYTHING)

    assert code == 0
    assert {task: len(found) for task, found in store.predictions.items()} == dict.fromkeys(range(1, 21), 1)
    assert len(RunStore(tmp_path / "runs").runs()) == 1


@pytest.mark.slow  # `make test` kills runs in tests/backend/runs/test_killed_runs.py
def test_a_killed_command_loses_nothing_and_doubles_nothing(store: Store, tmp_path: Path) -> None:
    store.add_tasks(24)
    for written in (1, 8, 15):
        program = _begun(store, tmp_path, written)
        os.kill(program.pid, signal.SIGKILL)
        program.communicate()

    code = main(EVERYTHING)

    assert code == 0
    assert {task: len(found) for task, found in store.predictions.items()} == dict.fromkeys(range(1, 25), 1)
