"""Runs Python code in a process of its own and tells how much its memory grew at most."""

import json
import os
import subprocess
import sys
import textwrap
from typing import Any

PROGRAM = """
import json, os, resource, sys
{setup}
def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak_bytes()
result = None
{measured}
print(json.dumps([peak_bytes() - before, result]))
"""


def peak_growth(setup: str, measured: str) -> tuple[int, Any]:
    """Run `setup`, then `measured`, which may set `result`; return the growth of the peak in bytes, and `result`.

    What `setup` holds and frees again hides as much growth: it is to hold nothing large that it frees.
    """
    program = PROGRAM.format(setup=textwrap.dedent(setup), measured=textwrap.dedent(measured))
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, env=os.environ, check=False
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    growth, result = json.loads(ran.stdout.splitlines()[-1])
    return growth, result
