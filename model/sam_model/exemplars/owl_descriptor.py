"""The embedding of OWLv2's proposal whose predicted box fits a region best.

transformers' own `image_guided_detection` takes no box, and chooses a patch of a query image by itself.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sam_model.exemplars.descriptors import Descriptors
from sam_model.masks.boxes import box_from_mask
from sam_model.types import Box, Image, Mask


class BoxDescriber(Protocol):
    """Describes the objects in boxes; OWLv2 does."""

    @property
    def fingerprint(self) -> str:
        """Return a text that identifies model and weights."""

    def describe(self, image: Image, boxes: Sequence[Box]) -> NDArray[np.float32]:
        """Return the embeddings (N, D), of length 1, of the objects in `boxes`."""


class OwlDescriber:
    """OWLv2 as a `sam_model.exemplars.descriptors.Describer`."""

    name = "owlv2"

    def __init__(self, detector: BoxDescriber) -> None:
        """Use a loaded OWLv2."""
        self._detector = detector
        self.fingerprint = f"owlv2-1-{detector.fingerprint}"

    def describe(self, image: Image, embedding: Any, masks: Sequence[Mask]) -> Descriptors:
        """Return the descriptors (N, D); see `Describer.describe`."""
        boxes = [box_from_mask(mask) for mask in masks]
        return self._detector.describe(image, [box for box in boxes if box is not None])
