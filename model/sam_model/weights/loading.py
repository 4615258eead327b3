"""Checkpoint files to tensors, without running anything that is in them.

PyTorch's files are pickles. They are read by its restricted unpickler (`weights_only=True`), which knows tensors and
plain containers and stops at everything else; safetensors files hold no code to begin with.
"""

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sam_model.weights.errors import BrokenWeightsError

WRAPPERS = ("model", "state_dict")  # where training scripts put the weights beside their own things
SHOWN = 5  # names in a message


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Name to tensor, on the CPU, from a file of PyTorch or of safetensors.

    Raises:
        BrokenWeightsError: the file is cut off, no checkpoint, or has more in it than tensors; nothing of it was run.
    """
    if not path.is_file():
        raise BrokenWeightsError(f"{path.name} is not there, or is no file")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pytorch(path)
    return _tensors(content, path.name)


def _read_pytorch(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
        if wanted:
            raise BrokenWeightsError(
                f"{path.name} is refused: it asks for {wanted[1]}, and weights are tensors only; nothing of it was run"
            ) from None
        raise BrokenWeightsError(f"{path.name} is refused: {_first_line(error)}; nothing of it was run") from None
    except Exception as error:  # noqa: BLE001 - a broken file may raise anything, and is the same error to us
        size = path.stat().st_size
        raise BrokenWeightsError(
            f"{path.name} ({size} bytes) cannot be read; it is cut off or no checkpoint: {_first_line(error)}"
        ) from None


def _read_safetensors(path: Path) -> object:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise BrokenWeightsError(
            f"{path.name} needs the package safetensors: pip install 'label-studio-sam[safetensors]'"
        ) from None
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise BrokenWeightsError(f"{path.name} is cut off or no safetensors file: {_first_line(error)}") from None


def _tensors(content: object, file: str) -> dict[str, Tensor]:
    """The state dict in what a file holds."""
    if isinstance(content, Mapping):
        for wrapper in WRAPPERS:
            if isinstance(content.get(wrapper), Mapping):
                content = content[wrapper]
                break
    if not isinstance(content, Mapping):
        raise BrokenWeightsError(f"{file} holds something of type {type(content).__name__}; needed: named tensors")
    if not content:
        raise BrokenWeightsError(f"{file} holds nothing; needed: named tensors")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise BrokenWeightsError(
                f"{file} holds something of type {type(value).__name__} under {name!r}; needed: a name and a tensor"
            )
    return dict(content)


@dataclass(frozen=True)
class Differences:
    """How a checkpoint's keys and shapes differ from those of an architecture."""

    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    misshapen: tuple[str, ...]  # "name (2, 3) instead of (2, 4)"

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.missing) + len(self.unknown) + len(self.misshapen)

    def __str__(self) -> str:
        parts = (("missing", self.missing), ("unknown", self.unknown), ("of another shape", self.misshapen))
        return "; ".join(f"{len(names)} {what}: {_some(names)}" for what, names in parts if names)


def differences(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Differences:
    """What a state dict has too little, too much or in another shape; only the shapes of `expected` count."""
    return Differences(
        missing=tuple(name for name in expected if name not in state),
        unknown=tuple(name for name in state if name not in expected),
        misshapen=tuple(
            f"{name} {tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
            for name, tensor in expected.items()
            if name in state and state[name].shape != tensor.shape
        ),
    )


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
