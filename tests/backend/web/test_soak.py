import json
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_two_minutes_of_mixed_work_lose_no_memory_files_or_threads() -> None:
    # so short a time shows only large leaks: 1500 MB/h are 40 kB a request at ten requests a second
    arguments = ["--minutes=2", "--warm-up=0.6", "--bar=1500", "--seed=20261126"]

    ended = subprocess.run(
        [sys.executable, "tests/benchmarks/soak.py", *arguments], capture_output=True, text=True, check=False
    )

    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-3000:]
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found["requests"] > 50
    assert found["problems"] == []
