"""Conversion of embeddings of the Segment Anything family to bytes and back.

Format: `MAGIC` with the format's version; the length of the header, 4 bytes, big-endian; the header, JSON; features and
details as in memory, in the precision that the decoder reads; the SHA-256 of everything before it. The checksum is
verified before anything is parsed.
"""

import hashlib
import json
import math
from typing import Any

import torch

from sam_model.runtime.choice import DTYPES
from sam_model.runtime.torch_runtime import torch_dtype
from sam_model.sam.segmenter import SamEmbedding

MAGIC = b"sam-embedding-3\n"
DIGEST_BYTES = 32
MAX_HEADER_BYTES = 4096
MAX_BYTES = 64 << 20  # of one embedding; SAM's have 4 MiB, SAM 2's 16 MiB
MAX_TENSORS = 8
MAX_DIMENSIONS = 8
MAX_SIDE = 1 << 20  # pixels of a side of the image
MIN_BYTES = len(MAGIC) + 4 + DIGEST_BYTES


def embedding_to_bytes(embedding: SamEmbedding, image: str) -> bytes:
    """Return the embedding as bytes, which `embedding_from_bytes` reads; `image` is the SHA-256 of the image's file."""
    tensors = [tensor.detach().to("cpu").contiguous() for tensor in embedding.tensors]
    header = json.dumps(
        {
            "image": image,
            "fingerprint": embedding.fingerprint,
            "dtype": embedding.dtype,
            "shapes": [list(tensor.shape) for tensor in tensors],
            "image_size": list(embedding.image_size),
            "input_size": list(embedding.input_size),
        }
    ).encode()
    bodies = [tensor.view(torch.uint8).numpy().tobytes() for tensor in tensors]
    content = b"".join((MAGIC, len(header).to_bytes(4, "big"), header, *bodies))
    return content + hashlib.sha256(content).digest()


def embedding_from_bytes(data: bytes, image: str, fingerprint: str) -> SamEmbedding:
    """Return the embedding, on the CPU.

    Args:
        data: bytes from `embedding_to_bytes`.
        image: SHA-256 of the image's file.
        fingerprint: of the segmenter that uses the embedding.

    Raises:
        ValueError: the bytes were changed, or are an embedding of another image or model.
    """
    if not MIN_BYTES < len(data) <= MAX_BYTES:
        raise ValueError(f"not an embedding: it has {len(data)} bytes")
    if not data.startswith(MAGIC):
        raise ValueError("not an embedding of this format: another magic number")
    content = memoryview(data)[:-DIGEST_BYTES]
    if hashlib.sha256(content).digest() != data[-DIGEST_BYTES:]:
        raise ValueError("the embedding was changed: the checksum differs")
    start = len(MAGIC) + 4
    end = start + int.from_bytes(content[len(MAGIC) : start], "big")
    if end > min(len(content), start + MAX_HEADER_BYTES):
        raise ValueError("not an embedding: its header is too long")
    header = _header(bytes(content[start:end]))
    if (header["image"], header["fingerprint"]) != (image, fingerprint):
        raise ValueError(
            f"the embedding is of image {header['image']} by {header['fingerprint']}; needed: {image} by {fingerprint}"
        )
    if not isinstance(header["dtype"], str) or header["dtype"] not in DTYPES:
        raise ValueError("not an embedding: its dtype is unknown")
    dtype = torch_dtype(header["dtype"])
    shapes = _shapes(header["shapes"])
    body = content[end:]
    lengths = [math.prod(shape) for shape in shapes]
    if sum(lengths) * dtype.itemsize != len(body):
        raise ValueError(f"not an embedding: its {len(body)} bytes are not {shapes} of {header['dtype']}")
    height, width = _sizes(header["image_size"], 2, "image_size")
    input_height, input_width = _sizes(header["input_size"], 2, "input_size")
    values = torch.split(torch.frombuffer(bytearray(body), dtype=dtype), lengths)
    features, *details = (part.view(shape) for part, shape in zip(values, shapes, strict=True))
    return SamEmbedding(features, (height, width), (input_height, input_width), fingerprint, tuple(details))


def _header(line: bytes) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError("not an embedding: its header is not JSON") from error
    names = {"image", "fingerprint", "dtype", "shapes", "image_size", "input_size"}
    if not isinstance(header, dict) or header.keys() != names:
        raise ValueError("not an embedding: its header has other fields")
    return header


def _shapes(value: object) -> list[tuple[int, ...]]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_TENSORS:
        raise ValueError(f"not an embedding: its shapes are not those of 1 to {MAX_TENSORS} tensors")
    for shape in value:
        if not isinstance(shape, list) or not 1 <= len(shape) <= MAX_DIMENSIONS:
            raise ValueError(f"not an embedding: a shape has not 1 to {MAX_DIMENSIONS} sizes")
    return [_sizes(shape, len(shape), "shape") for shape in value]


def _sizes(value: object, count: int, name: str) -> tuple[int, ...]:
    if (
        not isinstance(value, list)
        or len(value) != count
        or not all(type(side) is int and 0 < side <= MAX_SIDE for side in value)
    ):
        raise ValueError(f"not an embedding: its {name} is not {count} sizes")
    return tuple(value)
