"""Files that run code when they are unpickled, each by another opcode; the code writes a marker file."""

import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch


class RunsOnReduce:
    """An object whose code runs at the opcode REDUCE."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        import os

        return os.system, (f"echo ran > {self.marker}",)


class RunsOnBuild:
    """An object whose code runs at the opcode BUILD."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __getstate__(self) -> str:
        return self.marker

    def __setstate__(self, marker: str) -> None:
        Path(marker).write_text("ran")


class RunsOnNew:
    """An object whose code runs at the opcode NEWOBJ."""

    def __new__(cls, marker: str) -> "RunsOnNew":
        Path(marker).write_text("ran")
        return super().__new__(cls)

    def __getnewargs__(self) -> tuple[str]:
        return (self.marker,)


def _new_object(marker: Path) -> object:
    gadget = object.__new__(RunsOnNew)
    gadget.marker = str(marker)  # type: ignore[attr-defined]
    return gadget


def _pickled(content: object) -> bytes:
    return pickle.dumps(content, protocol=2)


def _legacy_file(first: bytes) -> bytes:
    """Return a file in PyTorch's format before 1.6: magic number, version, system, then the object."""
    header = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}})
    return b"".join(_pickled(part) for part in header) + first + _pickled([])


def _tar_file(content: bytes) -> bytes:
    """Return a file in PyTorch's first format, a tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in (("storages", _pickled(0)), ("tensors", _pickled(0)), ("pickle", content)):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _zip_file(content: bytes) -> bytes:
    """Return a checkpoint as PyTorch writes it, with its pickle replaced."""
    honest, buffer = io.BytesIO(), io.BytesIO()
    torch.save({"weight": torch.ones(3)}, honest)
    with zipfile.ZipFile(honest) as source, zipfile.ZipFile(buffer, "w") as target:
        for entry in source.namelist():
            target.writestr(entry, content if entry.endswith("/data.pkl") else source.read(entry))
    return buffer.getvalue()


def _shell(marker: Path) -> bytes:
    return f"echo ran > {marker}".encode()


# pickle -> what it runs; each is put into every container
PICKLES: dict[str, Callable[[Path], bytes]] = {
    "reduce": lambda marker: _pickled(RunsOnReduce(marker)),
    "build": lambda marker: _pickled(RunsOnBuild(marker)),
    "newobj": lambda marker: _pickled(_new_object(marker)),
    "inst": lambda marker: b"(S'" + _shell(marker) + b"'\nios\nsystem\n.",
    "obj": lambda marker: b"(cos\nsystem\nS'" + _shell(marker) + b"'\no.",
    "eval": lambda marker: (
        b'cbuiltins\neval\n(S\'__import__("pathlib").Path("' + str(marker).encode() + b"\").touch()'\ntR."
    ),
    "stack global": lambda marker: pickle.dumps(RunsOnReduce(marker), protocol=4),
    "nested in a dict": lambda marker: _pickled(
        {"image_encoder.pos_embed": [1, 2], "extra": {"deep": [RunsOnReduce(marker)]}}
    ),
}

CONTAINERS: dict[str, Callable[[bytes], bytes]] = {
    "bare": lambda content: content,
    "zip": _zip_file,
    "legacy": _legacy_file,
    "tar": _tar_file,
}
