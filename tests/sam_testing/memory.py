"""Memory of processes. Needs Linux's /proc."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

# ru_maxrss would begin with the peak of the process that started this one, and hide as much growth
PROGRAM = """
import json, pathlib
{setup}
def memory_kib(field):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))
pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew, at the present size
before = memory_kib("VmRSS:")
result = None
{measured}
print(json.dumps([(memory_kib("VmHWM:") - before) * 1024, result]))
"""


def peak_growth(setup: str, measured: str) -> tuple[int, Any]:
    """Run `setup`, then `measured`, which may set `result`.

    Return the rise of the peak memory in bytes, and `result`.
    """
    program = PROGRAM.format(setup=textwrap.dedent(setup), measured=textwrap.dedent(measured))
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=280, env=os.environ, check=False
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    growth, result = json.loads(ran.stdout.splitlines()[-1])
    return growth, result


def anonymous_bytes(pid: int) -> int:
    """Return a process's resident memory without files, such as libraries."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:")) * 1024


def mapped_file_bytes(path: Path, field: str) -> int:
    """Return a field of the mappings of a file in this process, such as `Rss` or `Anonymous`.

    Raises:
        LookupError: the file is not mapped.
    """
    found, is_of_file = [], False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, _, value = line.partition(":")
        if "-" in line.split()[0]:  # the addresses of the next mapping
            is_of_file = line.endswith(str(path))
        elif is_of_file and name == field:
            found.append(int(value.split()[0]) * 1024)
    if not found:
        raise LookupError(f"{path} is not mapped")
    return sum(found)
