"""SIGKILL at seeded moments: every task ends with exactly one prediction. The long version is a benchmark."""

import sys
from pathlib import Path

import pytest

from sam_testing.fake_label_studio import TOKEN, fake_program
from sam_testing.killed_runs import kill_and_resume


@pytest.mark.timeout(240)
def test_200_tasks_have_one_prediction_each_after_8_kills(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sam_testing.quick_worker", str(tmp_path / "runs"), "1", "0.05"]
    with fake_program(200, ["data:,"]) as url:
        run = kill_and_resume(url, TOKEN, 1, command, tmp_path / "runs", kills=8, longest_life_s=0.5)

    assert run.state == "finished"
    assert dict(run.found) == {1: 200}
    assert run.written == 200
    assert len(set(run.done_at_kills)) > 2
