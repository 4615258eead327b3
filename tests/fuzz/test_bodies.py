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
def test_no_mutated_request_gets_a_5xx_or_a_traceback() -> None:
    count = os.environ.get("SAM_FUZZ_COUNT", "100000")
    command = [sys.executable, str(SCRIPT), "--seed=20261126", f"--count={count}", f"--processes={os.cpu_count() or 1}"]

    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)

    assert ended.returncode == 0, ended.stdout[-8000:]
    assert '"failures": 0' in ended.stdout
