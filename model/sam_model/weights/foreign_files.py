"""Recognition of files that are not weights, by their first bytes: web pages, pointers, archives, cut-off downloads.

Nothing is unpickled or executed.
"""

import json
import re
import struct
import zipfile
from pathlib import Path

HEAD = 1024  # bytes that are looked at
SHORTEST_TEXT = 12  # bytes; a shorter file may be the beginning of anything
AGAIN = "download it again"
PAGE = "an HTML page, which a server sent in place of the weights; download the file itself"
TEXTS = {  # start of a text file, in lower case: what the file is
    b"<!doctype html": PAGE,
    b"<html": PAGE,
    b"<?xml": "an XML text, which a server sent in place of the weights; download the file itself",
    b"version https://git-lfs": "a pointer of Git LFS, which names the weights only; run `git lfs pull`",
}
MAGIC = {  # start of a binary file: what the file is
    b"\x1f\x8b": "an archive of gzip; extract the checkpoint from it",
    b"7z\xbc\xaf": "an archive of 7-Zip; extract the checkpoint from it",
    b"Rar!": "an archive of RAR; extract the checkpoint from it",
    b"\x89HDF": "a file of Keras; needed: a PyTorch or safetensors checkpoint",
    b"GGUF": "a GGUF file; needed: a PyTorch or safetensors checkpoint",
    b"\x93NUMPY": "an array of NumPy; needed: a PyTorch or safetensors checkpoint",
    b"\x89PNG": "an image; needed: a PyTorch or safetensors checkpoint",
    b"\xff\xd8\xff": "an image; needed: a PyTorch or safetensors checkpoint",
}
TAR_AT, TAR = 257, b"ustar"
ONNX = "an ONNX model; needed: a PyTorch or safetensors checkpoint (detectors can be ONNX files, with the suffix .onnx)"


def foreign_kind(path: Path) -> str:
    """Return what a file is that cannot be weights, and what to do; empty if it may be weights.

    The text continues a sentence such as "mobile_sam.pt is".
    """
    size = path.stat().st_size
    if not size:
        return f"empty; {AGAIN}"
    with path.open("rb") as file:
        head = file.read(HEAD)
    if is_safetensors(path):
        wanted = _safetensors_size(path)
        return f"cut off: it has {size} of {wanted} bytes; {AGAIN}" if wanted > size else ""
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_zip(path, size)
    kinds = [kind for start, kind in MAGIC.items() if head.startswith(start)]
    if kinds:
        return kinds[0]
    if head[TAR_AT:].startswith(TAR):
        return "an archive of tar; extract the checkpoint from it"
    if head[:1] == b"\x08" and head[2:3] == b"\x12" and head[1] < 0x20:
        return ONNX
    return _kind_of_text(head) or (ONNX if path.suffix == ".onnx" else "")


def is_safetensors(path: Path) -> bool:
    """Return whether a file begins as a safetensors file does: the length of the header, then JSON."""
    with path.open("rb") as file:
        head = file.read(10)
    return len(head) == 10 and head[8:] in (b'{"', b"{ ", b"{}") and int.from_bytes(head[:8], "little") < 1 << 30


def _safetensors_size(path: Path) -> int:
    """Return the number of bytes that the header promises; one more than the file has if the header is cut off."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            tensors = json.loads(file.read(length))
            ends = [value["data_offsets"][1] for name, value in tensors.items() if name != "__metadata__"]
            return 8 + length + max(map(int, ends), default=0)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return max(8 + length, path.stat().st_size + 1) if 8 + length > path.stat().st_size else 0


def _kind_of_zip(path: Path, size: int) -> str:
    if not zipfile.is_zipfile(path):  # it lacks the record at the end
        return f"cut off: it has {size} bytes, and the end of its archive is missing; {AGAIN}"
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error):
        return f"damaged: the table of contents of its archive cannot be read; {AGAIN}"
    if any(name.endswith("/constants.pkl") for name in names):
        return "a program of TorchScript, which is not executed; needed: a PyTorch or safetensors checkpoint"
    if any(name.endswith("/data.pkl") for name in names):
        return ""
    if names and all(name.endswith(".npy") for name in names):
        return "an archive of NumPy; needed: a PyTorch or safetensors checkpoint"
    return "a zip archive without a checkpoint of PyTorch; extract the checkpoint from it"


def _kind_of_text(head: bytes) -> str:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    kinds = [kind for text, kind in TEXTS.items() if start[:40].lower().startswith(text)]
    if kinds:
        return kinds[0]
    if not re.match(rb"[A-Z0-9{\[]", start) or start.endswith(b"."):  # a pickle of protocol 0 is a text, too
        return ""
    try:
        text = head.decode("utf-8", "strict" if len(head) < HEAD else "ignore")
    except UnicodeDecodeError:
        return ""
    if len(text.strip()) < SHORTEST_TEXT or not all(letter.isprintable() or letter in "\r\n\t" for letter in text):
        return ""
    beginning = " ".join(text.split())[:60]
    return f"a text, which begins with {beginning!r}; download the weights themselves"
