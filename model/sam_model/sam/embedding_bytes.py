"""SAM's embedding of an image as bytes, and back: a line of JSON, then the features as they lie in memory."""

import json
import zlib

import torch

from sam_model.runtime.torch_runtime import DTYPES
from sam_model.sam.segmenter import SamEmbedding

FORMAT = "sam-embedding-1"


def embedding_to_bytes(embedding: SamEmbedding) -> bytes:
    """The embedding as `embedding_from_bytes` reads it, with a checksum."""
    features = embedding.features.detach().to("cpu").contiguous()
    body = features.view(torch.uint8).numpy().tobytes()
    header = {
        "format": FORMAT,
        "fingerprint": embedding.fingerprint,
        "dtype": embedding.dtype,
        "shape": list(features.shape),
        "image_size": list(embedding.image_size),
        "input_size": list(embedding.input_size),
        "crc32": zlib.crc32(body),
    }
    return json.dumps(header).encode() + b"\n" + body


def embedding_from_bytes(data: bytes, fingerprint: str) -> SamEmbedding:
    """The embedding, on the CPU.

    Args:
        data: what `embedding_to_bytes` gave.
        fingerprint: of the segmenter that is to read it.

    Raises:
        ValueError: other bytes than were written, or the embedding of another model.
    """
    line, _, body = data.partition(b"\n")
    try:
        header = json.loads(line)
    except ValueError as error:
        raise ValueError("no embedding: its first line is no JSON") from error
    try:
        if header["format"] != FORMAT or header["fingerprint"] != fingerprint:
            raise ValueError(f"the embedding is {header['format']} of {header['fingerprint']}; needed: {fingerprint}")
        if zlib.crc32(body) != header["crc32"]:
            raise ValueError("the embedding's bytes are not those that were written")
        features = torch.frombuffer(bytearray(body), dtype=DTYPES[header["dtype"]]).reshape(header["shape"])
        height, width = header["image_size"]
        input_height, input_width = header["input_size"]
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"no embedding: {error}") from error
    return SamEmbedding(features, (height, width), (input_height, input_width), fingerprint)
