"""Descriptors of regions: vectors of length 1 whose cosine is high where objects are alike."""

from collections.abc import Sequence
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_model.types import Image, Mask

Descriptors = NDArray[np.float32]  # (N, D), each row of length 1


class Describer(Protocol):
    """Describes regions of an image. It is stateless, so threads may share one."""

    @property
    def name(self) -> str:
        """Return the engine's name, such as `classical`."""

    @property
    def fingerprint(self) -> str:
        """Return a text that identifies engine, weights and settings: equal fingerprints give equal descriptors."""

    def describe(self, image: Image, embedding: Any, masks: Sequence[Mask]) -> Descriptors:
        """Return the descriptors (N, D) of `masks`, each (H, W) and not empty.

        Args:
            image: RGB uint8 (H, W, 3).
            embedding: of the image by the segmenter that the engine belongs to; other engines ignore it.
            masks: of the regions.
        """


class SamDescriber:
    """The mean of SAM's embedding over a region, as in PerSAM (arXiv:2305.03048). It needs no weights of its own."""

    name = "sam"

    def __init__(self, fingerprint: str) -> None:
        """Describe embeddings of the segmenter with this fingerprint."""
        self.fingerprint = f"sam-1-{fingerprint}"

    def describe(self, image: Image, embedding: Any, masks: Sequence[Mask]) -> Descriptors:
        """Return the descriptors (N, C); see `Describer.describe`."""
        features = embedding.features[0].float().cpu().numpy()  # (C, h, w)
        channels, height, width = features.shape
        longest = max(embedding.input_size)
        rows = max(1, round(height * embedding.input_size[0] / longest))
        columns = max(1, round(width * embedding.input_size[1] / longest))
        inside = features[:, :rows, :columns].reshape(channels, -1)  # the rest is padding
        weights = np.stack(
            [cv2.resize(mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA) for mask in masks]
        ).reshape(len(masks), -1)
        return unit_length(weights @ inside.T)


def unit_length(vectors: NDArray[Any]) -> Descriptors:
    """Return vectors (N, D) divided by their lengths; a vector of zeros stays one."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)
