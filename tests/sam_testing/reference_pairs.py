"""Pairs of a reference model and ours with the same seeded weights, and the images that both segment.

The reference packages are imported within the functions: only the parity suite's environment has them.
"""

import warnings
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import torch

from sam_model.sam.segmenter import SamEmbedding, SamSegmenter
from sam_model.sam.sizes import SIZES
from sam_model.types import Image
from sam_testing.seeded_checkpoints import seeded_sam, seeded_state

IMAGE_SIZES = {
    "landscape": (375, 500),
    "portrait": (640, 427),
    "square": (512, 512),
    "tiny": (24, 17),
    "huge": (3000, 4000),
}
REFERENCE_NAMES = {"mobile_sam": "vit_t", "sam_b": "vit_b", "sam_l": "vit_l", "sam_h": "vit_h"}


@dataclass(frozen=True)
class Question:
    """Prompts of one shape, in parts of the image's sides, so that they fit every image."""

    points: Any = None  # (P, N, 2)
    labels: Any = None  # (P, N)
    boxes: Any = None  # (P, 4)
    has_mask_input: bool = False


@dataclass
class Pair:
    """A reference model and our segmenter with the same weights."""

    name: str
    reference: Any  # segment_anything.modeling.Sam, or MobileSAM's copy of it
    segmenter: SamSegmenter
    predictor_type: Any  # the reference's SamPredictor
    looks: dict[str, "Look"] = field(default_factory=dict)

    def look(self, image_name: str) -> "Look":
        """Compute the embedding of an image with both models, once per image."""
        if image_name not in self.looks:
            image = image_named(image_name)
            predictor = self.predictor_type(self.reference)
            predictor.set_image(image)
            self.looks[image_name] = Look(image, predictor, self.segmenter.embed(image))
        return self.looks[image_name]


@dataclass(frozen=True)
class Look:
    """The embeddings of one image by both models."""

    image: Image
    predictor: Any  # the reference's SamPredictor, with its image set
    embedding: SamEmbedding


def reference_package(name: str) -> Any:
    """Import the package with the reference of a model: `segment_anything` or `mobile_sam`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they use old names of timm's
        if name == "mobile_sam":
            import mobile_sam

            return mobile_sam
        import segment_anything

        return segment_anything


@cache
def image_named(name: str) -> Image:
    """Return an image with shades, shapes and noise, RGB uint8 (H, W, 3)."""
    height, width = IMAGE_SIZES[name]
    noise = np.random.default_rng(len(name))
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    y, x = y / height, x / width
    image = np.stack([x, y, 1 - x], axis=-1)
    for _ in range(6):
        centre_x, centre_y, radius = *noise.uniform(0, 1, 2), noise.uniform(0.05, 0.3)
        image[(x - centre_x) ** 2 + (y - centre_y) ** 2 < radius**2] = noise.uniform(0, 1, 3)
    image += noise.normal(0, 0.03, image.shape)
    return (image.clip(0, 1) * 255).astype(np.uint8)


@cache
def pair_called(name: str) -> Pair:
    """Return the reference and our segmenter for a model's name."""
    torch.set_num_threads(2)
    package = reference_package(name)
    reference = package.sam_model_registry[REFERENCE_NAMES[name]]()
    reference.load_state_dict(seeded_state(SIZES[name]))
    reference.eval()
    return Pair(name, reference, SamSegmenter(seeded_sam(SIZES[name]), name), package.SamPredictor)
