"""The runtime of this machine and the memory of its GPU, found without PyTorch in this process.

A process that has asked CUDA for its devices must not fork, and importing PyTorch takes seconds. Where only PyTorch
can tell, a child process asks it: `python -m sam_model.runtime.probe NAME DEVICE DTYPE`.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from functools import cache

from sam_model.runtime.choice import Runtime, choose_runtime, is_cpu


@dataclass(frozen=True)
class FoundRuntime:
    """A runtime, and the memory of its GPU in MiB; None if it has none, or if PyTorch does not tell."""

    runtime: Runtime
    gpu_memory_mib: int | None = None


def find_runtime(name: str, device: str, dtype: str) -> FoundRuntime:
    """Return what `choose_runtime` does, with the memory of the GPU.

    Raises:
        ValueError: a name is unknown, or the device or OpenVINO cannot be used.
        RuntimeError: PyTorch cannot be imported.
    """
    return (
        found_here(name, device, dtype) if "torch" in sys.modules or is_cpu(device) else _by_child(name, device, dtype)
    )


def found_here(name: str, device: str, dtype: str) -> FoundRuntime:
    """Do the same in this process."""
    runtime = choose_runtime(name, device, dtype)
    if not runtime.device.startswith("cuda"):
        return FoundRuntime(runtime)
    from sam_model.runtime.torch_runtime import gpu_memory_mib

    return FoundRuntime(runtime, gpu_memory_mib(runtime.device))


@cache
def _by_child(name: str, device: str, dtype: str) -> FoundRuntime:
    child = subprocess.run(  # noqa: S603  # our own module
        [sys.executable, "-m", "sam_model.runtime.probe", name, device, dtype],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode:
        lines = child.stderr.strip().splitlines() or [f"exit code {child.returncode}"]
        raise RuntimeError(f"could not ask PyTorch for the devices of this machine: {lines[-1]}")
    answer = json.loads(child.stdout.splitlines()[-1])
    if "problem" in answer:
        raise ValueError(answer["problem"])
    return FoundRuntime(Runtime(**answer["runtime"]), answer["gpu_memory_mib"])


def main(name: str, device: str, dtype: str) -> None:
    """Print one line of JSON: the runtime, or why there is none."""
    try:
        sys.stdout.write(json.dumps(asdict(found_here(name, device, dtype))))
    except ValueError as error:
        sys.stdout.write(json.dumps({"problem": str(error)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
