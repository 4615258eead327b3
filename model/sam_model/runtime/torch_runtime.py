"""Names of devices and precisions, as people write them, to PyTorch's."""

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def torch_device(name: str) -> torch.device:
    """The device called `name`: `cpu`, `cuda`, `cuda:1`, `mps`, or `auto` for the best that is there.

    Raises:
        ValueError: no such device, or not on this machine.
    """
    has_mps = torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and not number.isdecimal()):
        raise ValueError(f"device {name!r} is unknown; known: auto, cpu, cuda, cuda:0, cuda:1, ..., mps")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {name!r} is not here: this machine has {torch.cuda.device_count()} CUDA devices")
    if kind == "mps" and not has_mps:
        raise ValueError("device 'mps' is not here: it needs a Mac with Apple's chips")
    return torch.device(name)


def torch_dtype(name: str) -> torch.dtype:
    """The precision called `name`.

    Raises:
        ValueError: no such precision.
    """
    if name not in DTYPES:
        raise ValueError(f"dtype {name!r} is unknown; known: {', '.join(DTYPES)}")
    return DTYPES[name]
