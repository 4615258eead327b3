"""A process that forks later finds its runtime without PyTorch."""

import os
import subprocess
import sys
from pathlib import Path

SERVICE = """
import sys
from pathlib import Path
from sam_backend.service.service import assemble
from sam_backend.settings import Settings
from sam_backend.web.gunicorn_server import GunicornServer
from sam_model.runtime import choice
from sam_model.weights.store import store_from_env

choice.GPU_FILES = (sys.argv[2],)
service = assemble(
    Settings(model="mobile_sam", runtime="torch", runs_dir=Path(sys.argv[1])), store_from_env({"SAM_OFFLINE": "1"})
)
GunicornServer(service, "127.0.0.1", 9090).load()
print(service.model.version, "torch" in sys.modules)
"""
DEVICE = """
import sys
from sam_model.runtime.probe import find_runtime

print(find_runtime("torch", "cpu", "bfloat16"))
try:
    find_runtime("torch", "tpu", "auto")
except ValueError as error:
    print(error)
print("torch" in sys.modules)
"""


def run(script: str, *arguments: str) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SAM_")}
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_the_service_is_put_together_without_pytorch(tmp_path: Path) -> None:
    answers = [run(SERVICE, str(tmp_path), file) for file in ("/dev/no-such-driver", "/dev/null")]

    assert answers == [["mobile_sam-6dbb9052-float32 False"]] * 2  # the second time, a child process asked PyTorch


def test_an_unknown_device_is_named_by_the_child_process() -> None:
    assert run(DEVICE) == [
        "FoundRuntime(runtime=Runtime(name='torch', device='cpu', dtype='bfloat16'), gpu_memory_mib=None)",
        "unknown device 'tpu'; known: auto, cpu, cuda, cuda:0, cuda:1, ..., 0, 1, ..., mps",
        "False",
    ]
