"""Reading of `torch.save` files without executing them: containers, tensors, and stand-ins for Ultralytics' classes.

Source: the two formats of `torch.save` (torch/serialization.py @ v2.13.0, BSD-3-Clause): a zip archive with `data.pkl`
and a record per storage, and before version 1.6 five pickles followed by the storages.
"""

import math
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from sam_model.weights.errors import BrokenWeightsError
from sam_model.weights.foreign_files import foreign_kind, is_safetensors
from sam_model.yolo.pickle_reader import Inert, Known, PickleReader, RefusedPickleError
from sam_model.yolo.stand_ins import STORAGES, is_stand_in

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
LEGACY_VERSION = 1001


@dataclass(frozen=True)
class Storage:
    """A storage of numbers in the file."""

    key: str
    dtype: torch.dtype
    count: int


@dataclass(frozen=True)
class StoredTensor:
    """A view of a storage, not yet read."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True)
class TorchFile:
    """The content of a file. Its tensors are `StoredTensor`s, which `tensor` reads."""

    name: str
    content: Any
    read_storage: Callable[[Storage], bytes]

    def tensor(self, stored: StoredTensor) -> Tensor:
        """Return the values of a tensor, on the CPU.

        Raises:
            BrokenWeightsError: the file has no such storage, or the storage is too short.
        """
        storage = stored.storage
        data = self.read_storage(storage)
        if len(data) != storage.count * storage.dtype.itemsize:
            raise BrokenWeightsError(f"{self.name} is truncated: storage {storage.key} has {len(data)} bytes")
        if all(stored.size):
            flat = torch.frombuffer(bytearray(data), dtype=storage.dtype)
            return flat.as_strided(stored.size, stored.stride, stored.offset)
        return torch.empty(stored.size, dtype=storage.dtype)


def read_torch_file(path: Path) -> TorchFile:
    """Read a file of `torch.save` without executing anything in it.

    Raises:
        BrokenWeightsError: the file is truncated, not a PyTorch file, or asks for something that no YOLO checkpoint
            has; the message names it.
    """
    if not path.is_file():
        raise BrokenWeightsError(f"{path.name} does not exist or is not a file")
    kind = foreign_kind(path)
    if kind:
        raise BrokenWeightsError(f"could not load {path.name}: it is {kind}")
    if is_safetensors(path):
        raise BrokenWeightsError(
            f"{path.name} is a safetensors file, which has no layers; needed: the file that Ultralytics writes"
        )
    try:
        return _read_zip(path) if zipfile.is_zipfile(path) else _read_legacy(path)
    except RefusedPickleError as error:
        raise BrokenWeightsError(f"could not load {path.name}: {error}; nothing in it was executed") from None
    except (zipfile.BadZipFile, OSError, EOFError, struct.error, NotImplementedError) as error:
        raise BrokenWeightsError(f"could not load {path.name}: it is damaged or not a checkpoint: {error}") from None


def _read_zip(path: Path) -> TorchFile:
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise BrokenWeightsError(f"{path.name} is a zip archive with {len(pickles)} data.pkl; needed: one")
        root = pickles[0].removesuffix("data.pkl")
        if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
            raise BrokenWeightsError(f"{path.name} has another byte order; needed: little-endian")
        with archive.open(_stored(archive, pickles[0])) as file:
            content = _reader().read(file)  # type: ignore[arg-type]

    def read_storage(storage: Storage) -> bytes:
        try:
            with zipfile.ZipFile(path) as archive:
                return archive.read(_stored(archive, f"{root}data/{storage.key}"))
        except (KeyError, zipfile.BadZipFile, OSError, EOFError) as error:
            raise BrokenWeightsError(f"{path.name} is truncated: storage {storage.key}: {error}") from None

    return TorchFile(path.name, content, read_storage)


def _stored(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """Return the record of that name, which must be uncompressed as PyTorch writes it."""
    record = archive.getinfo(name)
    if record.compress_type != zipfile.ZIP_STORED:
        raise BrokenWeightsError(f"record {name} is compressed; PyTorch writes none that is")
    return record


def _read_legacy(path: Path) -> TorchFile:
    seen: dict[str, Storage] = {}
    reader = _reader(seen)
    with path.open("rb") as file:
        if reader.read(file) != MAGIC_NUMBER or reader.read(file) != LEGACY_VERSION:
            raise BrokenWeightsError(f"{path.name} is not a PyTorch file")
        system = reader.read(file)
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise BrokenWeightsError(f"{path.name} has another byte order; needed: little-endian")
        content = reader.read(file)
        keys = reader.read(file)
        data = {key: _read_legacy_storage(file, seen[key]) for key in keys if key in seen}
        if not isinstance(keys, list) or set(data) != set(seen) or len(data) != len(keys):
            raise BrokenWeightsError(f"{path.name} is truncated: it has {len(data)} of {len(seen)} storages")
    return TorchFile(path.name, content, lambda storage: data[storage.key])


def _read_legacy_storage(file: BinaryIO, storage: Storage) -> bytes:
    (count,) = struct.unpack("<q", file.read(8))
    return file.read(storage.count * storage.dtype.itemsize) if count == storage.count else b""


def _reader(seen: dict[str, Storage] | None = None) -> PickleReader:
    """Return a reader for YOLO checkpoints, which records in `seen` the storages that are named."""

    def from_outside(identity: Any) -> Storage | Known:
        match identity:
            case ("storage", Known(name=name), str(key), _, int(count), *rest) if name in STORAGES and count >= 0:
                if any(rest):
                    raise RefusedPickleError(f"it asks for a view on storage {key}, as PyTorch 0.1 wrote")
                storage = Storage(key, getattr(torch, STORAGES[name]), count)
            case ("module", Known() as named, *_):  # a class, beside its source code in the old format
                return named
            case _:
                raise RefusedPickleError(f"it asks for {_shown(identity)} by a persistent id, which is not a storage")
        if seen is not None:
            seen[storage.key] = storage
        return storage

    return PickleReader(is_stand_in, CONSTRUCTORS, from_outside)


def _shown(identity: Any) -> str:
    """Return a persistent id for a message. Only its plain parts are shown, since nested ones may be endless."""
    parts = identity if type(identity) is tuple else (identity,)
    names = [part.name if isinstance(part, Known) else part for part in parts[:5]]
    return " ".join(str(name)[:80] for name in names if isinstance(name, str | bytes | int)) or type(identity).__name__


def _rebuild_tensor(storage: Any = None, offset: Any = None, size: Any = None, stride: Any = None, *_: Any) -> Any:
    """Return a tensor whose values are all in its storage, none of them twice."""
    numbers = [offset, *size, *stride] if type(size) is tuple and type(stride) is tuple else [None]
    if not isinstance(storage, Storage) or not all(type(number) is int and number >= 0 for number in numbers):
        raise RefusedPickleError("it asks for a tensor of something that is not a storage, or without a valid size")
    last = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
    if math.prod(size) > storage.count or (math.prod(size) and last >= storage.count):
        raise RefusedPickleError(f"it asks for a tensor {size} of a storage of {storage.count} numbers")
    return StoredTensor(storage, offset, size, stride)


def _rebuild_parameter(tensor: Any = None, *_: Any) -> Any:
    if not isinstance(tensor, StoredTensor):
        raise RefusedPickleError("it asks for a parameter that is not a tensor")
    return tensor


def _ordered_dict(pairs: Any = (), *_: Any) -> Any:
    if type(pairs) not in (list, tuple) or not all(
        type(pair) in (list, tuple) and len(pair) == 2 and type(pair[0]) in (str, int) for pair in pairs
    ):
        raise RefusedPickleError("it asks for an OrderedDict of something that is not a list of pairs")
    return {key: value for key, value in pairs}  # noqa: C416 - the checker cannot know that they are pairs


def _size(sides: Any = (), *_: Any) -> Any:
    return tuple(sides) if type(sides) in (list, tuple) else ()


def _set(items: Any = (), *_: Any) -> Any:
    if type(items) not in (list, tuple, set) or not all(type(item) in (str, int) for item in items):
        raise RefusedPickleError("it asks for a set of something that is not a name")
    return set(items)


def _method(owner: Any = None, name: Any = None, *_: Any) -> Any:
    """Return a placeholder of the method that a fused module runs; it is not looked up."""
    if not isinstance(owner, Inert) or type(name) is not str or not name.startswith("forward"):
        shown = name[:80] if type(name) is str else type(name).__name__
        raise RefusedPickleError(f"it asks for builtins.getattr with {shown}, which is not a module's forward method")
    return Inert("builtins.getattr", (name,))


CONSTRUCTORS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": _rebuild_parameter,
    "collections.OrderedDict": _ordered_dict,
    "torch.Size": _size,
    "builtins.set": _set,
    "__builtin__.set": _set,
    "builtins.getattr": _method,
    "__builtin__.getattr": _method,
}
