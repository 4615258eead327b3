"""SAM's embedding of an image as bytes, and back.

Format: `MAGIC`; the length of the header, 4 bytes, big-endian; the header, JSON; the features as they lie in memory;
the SHA-256 of everything before it. Nothing is parsed before that checksum was compared.
"""

import hashlib
import json
from typing import Any

import torch

from sam_model.runtime.torch_runtime import DTYPES
from sam_model.sam.segmenter import SamEmbedding

MAGIC = b"sam-embedding-2\n"
DIGEST_BYTES = 32
MOST_HEADER_BYTES = 4096
MOST_BYTES = 64 << 20  # of one embedding; SAM's have 4 MiB
MOST_PIXELS = 1 << 20  # of a side of the image
LOWEST = len(MAGIC) + 4 + DIGEST_BYTES


def embedding_to_bytes(embedding: SamEmbedding, image: str) -> bytes:
    """The embedding as `embedding_from_bytes` reads it; `image` is the SHA-256 of the image's file."""
    features = embedding.features.detach().to("cpu").contiguous()
    header = json.dumps(
        {
            "image": image,
            "fingerprint": embedding.fingerprint,
            "dtype": embedding.dtype,
            "shape": list(features.shape),
            "image_size": list(embedding.image_size),
            "input_size": list(embedding.input_size),
        }
    ).encode()
    body = features.view(torch.uint8).numpy().tobytes()
    content = b"".join((MAGIC, len(header).to_bytes(4, "big"), header, body))
    return content + hashlib.sha256(content).digest()


def embedding_from_bytes(data: bytes, image: str, fingerprint: str) -> SamEmbedding:
    """The embedding, on the CPU.

    Args:
        data: what `embedding_to_bytes` gave.
        image: SHA-256 of the image's file.
        fingerprint: of the segmenter that is to read it.

    Raises:
        ValueError: other bytes than were written, or the embedding of another image or model.
    """
    if not LOWEST < len(data) <= MOST_BYTES:
        raise ValueError(f"no embedding: it has {len(data)} bytes")
    if not data.startswith(MAGIC):
        raise ValueError("no embedding of this format: it begins otherwise")
    content = memoryview(data)[:-DIGEST_BYTES]
    if hashlib.sha256(content).digest() != data[-DIGEST_BYTES:]:
        raise ValueError("the embedding's bytes are not those that were written: the checksum differs")
    start = len(MAGIC) + 4
    end = start + int.from_bytes(content[len(MAGIC) : start], "big")
    if end > min(len(content), start + MOST_HEADER_BYTES):
        raise ValueError("no embedding: its header is too long")
    header = _header(bytes(content[start:end]))
    if (header["image"], header["fingerprint"]) != (image, fingerprint):
        raise ValueError(
            f"the embedding is of image {header['image']} by {header['fingerprint']}; needed: {image} by {fingerprint}"
        )
    if not isinstance(header["dtype"], str) or header["dtype"] not in DTYPES:
        raise ValueError("no embedding: its dtype is unknown")
    dtype = DTYPES[header["dtype"]]
    shape = _sizes(header["shape"], 4, "shape")
    body = content[end:]
    if shape[0] * shape[1] * shape[2] * shape[3] * dtype.itemsize != len(body):
        raise ValueError(f"no embedding: its {len(body)} bytes are not {shape} of {header['dtype']}")
    height, width = _sizes(header["image_size"], 2, "image_size")
    input_height, input_width = _sizes(header["input_size"], 2, "input_size")
    features = torch.frombuffer(bytearray(body), dtype=dtype).reshape(shape)
    return SamEmbedding(features, (height, width), (input_height, input_width), fingerprint)


def _header(line: bytes) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError("no embedding: its header is no JSON") from error
    names = {"image", "fingerprint", "dtype", "shape", "image_size", "input_size"}
    if not isinstance(header, dict) or header.keys() != names:
        raise ValueError("no embedding: its header has other fields")
    return header


def _sizes(value: object, count: int, name: str) -> tuple[int, ...]:
    if (
        not isinstance(value, list)
        or len(value) != count
        or not all(type(side) is int and 0 < side <= MOST_PIXELS for side in value)
    ):
        raise ValueError(f"no embedding: its {name} is not {count} sizes")
    return tuple(value)
