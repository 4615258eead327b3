import os
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.mutations import good_requests, mutated

SCRIPT = Path(__file__).with_name("bodies.py")


def test_a_request_follows_from_the_seed_and_its_number() -> None:
    first, again, other = ([mutated(seed, number) for number in range(300)] for seed in (1, 1, 2))

    assert first == again
    assert first != other
    assert sum(request in good_requests() for request in first) < 30  # nearly all are changed


@pytest.mark.fuzz
@pytest.mark.timeout(1200)
def test_no_mutated_request_gets_a_5xx_or_a_traceback(tmp_path: Path) -> None:
    count = os.environ.get("SAM_FUZZ_COUNT", "100000")
    command = [sys.executable, str(SCRIPT), "--seed=20261126", f"--count={count}", f"--processes={os.cpu_count() or 1}"]

    with (tmp_path / "stderr").open("w+b") as stderr:
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, text=True, check=False)

    said = (tmp_path / "stderr").read_text(errors="replace")
    assert ended.returncode == 0, f"{ended.stdout[-8000:]}\n{said[-3000:]}"
    assert '"failures": 0' in ended.stdout
