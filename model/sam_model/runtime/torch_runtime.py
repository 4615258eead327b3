"""PyTorch devices and precisions by name."""

import torch

from sam_model.runtime.choice import DTYPES

Device = str | int | torch.device | None


def torch_device(name: Device = "auto") -> torch.device:
    """Return a device by name.

    Args:
        name: `cpu`, `cuda`, `cuda:1`, `mps`, or the number of a CUDA device, as `0` or `"0"`; `auto`, an empty text or
            None for the fastest device of this machine.

    Raises:
        ValueError: the device is unknown, or this machine does not have it.
    """
    if isinstance(name, torch.device):
        name = str(name)
    has_mps = torch.backends.mps.is_available()
    if name in ("auto", "", None):
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu")
    text = str(name).strip().lower()
    kind, _, number = f"cuda:{text}".partition(":") if text.isdecimal() else text.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and not number.isdecimal()):
        raise ValueError(f"unknown device {name!r}; known: auto, cpu, cuda, cuda:0, cuda:1, ..., 0, 1, ..., mps")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {name!r} is not available: this machine has {torch.cuda.device_count()} CUDA devices")
    if kind == "mps" and not has_mps:
        raise ValueError("device 'mps' is not available: it needs a Mac with Apple silicon")
    return torch.device(f"{kind}:{number}" if number and kind == "cuda" else kind)


def torch_dtype(name: str) -> torch.dtype:
    """Return the precision called `name`.

    Raises:
        ValueError: the precision is unknown.
    """
    if name not in DTYPES:
        raise ValueError(f"unknown dtype {name!r}; known: {', '.join(DTYPES)}")
    found: torch.dtype = getattr(torch, name)
    return found


def gpu_memory_mib(device: str) -> int | None:
    """Return the memory of a CUDA device in MiB; None for other devices, whose memory PyTorch does not tell."""
    on = torch.device(device)
    return torch.cuda.get_device_properties(on).total_memory >> 20 if on.type == "cuda" else None
