"""Reading of checkpoint files without executing anything in them.

PyTorch's files are pickles. PyTorch's restricted unpickler (`weights_only=True`) reads tensors and plain containers and
refuses everything else. Safetensors files cannot contain code.
"""

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sam_model.weights.errors import BrokenWeightsError
from sam_model.weights.foreign_files import foreign_kind, is_safetensors

WRAPPERS = ("model", "state_dict")  # keys under which training scripts store the weights
# before all names, by DistributedDataParallel, torch.compile and Lightning; YOLO's names have a number after it
PREFIX = re.compile(r"(module|_orig_mod|model)\.(?!\d)")
MAX_NAMES_SHOWN = 5  # in a message


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a PyTorch or safetensors file by name, on the CPU.

    Raises:
        BrokenWeightsError: the file is truncated, not a checkpoint, or holds more than tensors. Nothing in it was
            executed.
    """
    if not path.is_file():
        raise BrokenWeightsError(f"{path.name} does not exist or is not a file")
    kind = foreign_kind(path)
    if kind:
        raise BrokenWeightsError(f"could not load {path.name}: it is {kind}")
    content = _read_safetensors(path) if is_safetensors(path) else _read_pytorch(path)
    return _without_prefix(_tensors(content, path.name))


def _read_pytorch(path: Path) -> object:
    try:
        with path.open("rb") as file:  # PyTorch takes a path with another suffix for another format
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
        if wanted:
            raise BrokenWeightsError(
                f"could not load {path.name}: it asks for {wanted[1]}, but weights are tensors only; "
                f"nothing in it was executed"
            ) from None
        raise BrokenWeightsError(f"{_damaged(path, error)}; nothing in it was executed") from None
    except Exception as error:  # noqa: BLE001 - a broken file can raise any error
        raise BrokenWeightsError(_damaged(path, error)) from None


def _damaged(path: Path, error: Exception) -> str:
    """Return a message without PyTorch's advice to load the file with less care."""
    reason = re.search(r"WeightsUnpickler error: (.*)", str(error))
    said = reason[1] if reason else _first_line(error).partition(". ")[0]
    return f"could not load {path.name} ({path.stat().st_size} bytes): it is damaged or not a checkpoint: {said}"


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
        raise BrokenWeightsError(
            f"could not load {path.name}: it is a damaged safetensors file: {_first_line(error)}; download it again"
        ) from None


def _tensors(content: object, file: str) -> dict[str, Tensor]:
    """Return the state dict of a file's content."""
    if isinstance(content, Mapping):
        for wrapper in WRAPPERS:
            if isinstance(content.get(wrapper), Mapping):
                content = content[wrapper]
                break
    if not isinstance(content, Mapping):
        raise BrokenWeightsError(f"{file} holds an object of type {type(content).__name__}; needed: named tensors")
    if not content:
        raise BrokenWeightsError(f"{file} is empty; needed: named tensors")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise BrokenWeightsError(
                f"{file} holds an object of type {type(value).__name__} under {name!r}; needed: tensors with names"
            )
    return dict(content)


def _without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors without a prefix that a training tool added to all names."""
    found = PREFIX.match(next(iter(tensors)))
    if found is None or not all(name.startswith(found[0]) for name in tensors):
        return tensors
    return _without_prefix({name.removeprefix(found[0]): tensor for name, tensor in tensors.items()})


@dataclass(frozen=True)
class Differences:
    """The differences between a checkpoint and an architecture, in keys and shapes."""

    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    misshapen: tuple[str, ...]  # "name (2, 3) instead of (2, 4)"

    @property
    def count(self) -> int:
        """The number of differences."""
        return len(self.missing) + len(self.unknown) + len(self.misshapen)

    @property
    def count_in_file(self) -> int:
        """The number of the checkpoint's tensors that the architecture does not have."""
        return len(self.unknown) + len(self.misshapen)

    def __str__(self) -> str:
        parts = (("missing", self.missing), ("unknown", self.unknown), ("of another shape", self.misshapen))
        return "; ".join(f"{len(names)} {what}: {_some(names)}" for what, names in parts if names)


def differences(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Differences:
    """Compare the keys and shapes of a state dict with the `expected` ones."""
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
    return ", ".join(names[:MAX_NAMES_SHOWN]) + (", ..." if len(names) > MAX_NAMES_SHOWN else "")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
