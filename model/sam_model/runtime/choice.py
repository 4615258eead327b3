"""The choice of runtime and precision from a name, the device and the processor."""

import importlib.util
import os
import platform
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sam_model.runtime.torch_runtime import Device

RUNTIMES = ("auto", "torch", "openvino")
DTYPES = ("float32", "bfloat16", "float16")
BFLOAT16_FLAGS = {"amx_bf16", "avx512_bf16"}  # of /proc/cpuinfo
X86 = {"x86_64", "amd64"}
GPU_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")  # of drivers: NVIDIA's, that of WSL, AMD's


@dataclass(frozen=True)
class Runtime:
    """What runs the networks, and in which precision."""

    name: str  # torch or openvino
    device: str  # cpu, cuda, cuda:1 or mps
    dtype: str  # float32, bfloat16 or float16

    def __str__(self) -> str:
        return self.dtype if self.name == "torch" else f"{self.name}-{self.dtype}"


def choose_runtime(name: str = "auto", device: "Device" = "auto", dtype: str = "auto") -> Runtime:
    """Return the runtime called `name`, or the fastest one, on a device.

    `auto` is OpenVINO on x86 processors if it is installed, and PyTorch otherwise. The precision `auto` is bfloat16
    with OpenVINO on processors that multiply in bfloat16, and float32 otherwise.

    Args:
        name: `auto`, `torch` or `openvino`.
        device: as for `torch_device`.
        dtype: `auto`, `float32`, `bfloat16` or `float16`.

    Raises:
        ValueError: a name is unknown, or OpenVINO cannot be used.
    """
    if name not in RUNTIMES:
        raise ValueError(f"unknown runtime {name!r}; known: {', '.join(RUNTIMES)}")
    on = _device_name(device)
    if dtype not in ("auto", *DTYPES):
        raise ValueError(f"unknown dtype {dtype!r}; known: auto, {', '.join(DTYPES)}")
    problem = _openvino_problem(on.partition(":")[0], dtype)
    if name == "openvino" and problem:
        raise ValueError(f"runtime 'openvino' is not available: {problem}")
    if name == "torch" or problem:
        return Runtime("torch", on, "float32" if dtype == "auto" else dtype)
    return Runtime("openvino", on, _openvino_dtype(dtype))


def is_cpu(device: "Device") -> bool:
    """Return whether a device is surely the CPU; PyTorch, which takes seconds to import, is not asked."""
    has_no_gpu = sys.platform == "linux" and not any(Path(file).exists() for file in GPU_FILES)
    return str(device) == "cpu" or (device in ("auto", "", None) and has_no_gpu)


def _device_name(device: "Device") -> str:
    if is_cpu(device):
        return "cpu"
    from sam_model.runtime.torch_runtime import torch_device

    return str(torch_device(device))


def _openvino_problem(device_type: str, dtype: str) -> str | None:
    """Return why OpenVINO cannot be used; None if it can."""
    if device_type != "cpu":
        return f"it runs on CPUs, and the device is {device_type!r}"
    if platform.machine().lower() not in X86:
        return f"it needs an x86 processor, and this one is {platform.machine()}"
    if dtype == "float16":
        return "it has no dtype 'float16' on CPUs; use 'bfloat16'"
    if importlib.util.find_spec("openvino") is None:
        return "it is not installed; install label-studio-sam[cpu]"
    return None


def _openvino_dtype(dtype: str) -> str:
    if dtype != "auto":
        return dtype
    return "bfloat16" if multiplies_in_bfloat16(os.environ.get("ONEDNN_MAX_CPU_ISA", "")) else "float32"


def multiplies_in_bfloat16(max_isa: str = "", cpu_info: Path = Path("/proc/cpuinfo")) -> bool:
    """Return whether the processor has instructions for products of bfloat16 numbers.

    Args:
        max_isa: oneDNN's limit of the instruction set, such as `AVX2`; empty for none.
        cpu_info: Linux's description of the processor; other systems have none.
    """
    limit = max_isa.upper()
    if limit not in ("", "ALL", "DEFAULT") and not any(part in limit for part in ("BF16", "FP16", "AMX", "AVX10")):
        return False
    return bool(BFLOAT16_FLAGS & _cpu_flags(cpu_info))


@cache
def _cpu_flags(cpu_info: Path) -> frozenset[str]:
    try:
        lines = cpu_info.read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line for line in lines if line.startswith("flags")), "").split())
