"""The other objects of an image that are like a prompted one."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from sam_backend.exemplars.engines import unlimited
from sam_model.automatic_segmentation import SegmentedObject
from sam_model.exemplars.classical_descriptor import ClassicalDescriber
from sam_model.exemplars.descriptors import Describer, SamDescriber
from sam_model.exemplars.further_regions import with_further_regions
from sam_model.exemplars.matches import exact_masks, match_regions
from sam_model.exemplars.proposals import propose_regions
from sam_model.exemplars.similarity import Examples, Scores, similarity_scores
from sam_model.interfaces import Segmenter
from sam_model.masks.overlap import overlap_share
from sam_model.types import Image, Mask, ScoredMask

MIN_SCORE = 0.5
MAX_SIMILAR = 50  # suggestions beside the prompted object
MAX_SHARED = 0.3  # share of the smaller of two masks: with a larger one, it is the prompted object again


def similar_objects(
    segmenter: Segmenter[Any], load_image: Callable[[], Image], embedding: Any, prompted: Sequence[Mask]
) -> Iterator[ScoredMask]:
    """Yield the objects that are like the first of `prompted`, without those that overlap one of them.

    The rest of the image may hold unlabelled objects of the same kind, so only its less similar half is a negative
    example.

    Args:
        segmenter: proposes regions and makes the masks.
        load_image: returns the image, RGB uint8 (H, W, 3).
        embedding: of the image by the segmenter.
        prompted: masks (H, W) of the prompts of the same request.
    """
    image, plain = load_image(), unlimited(segmenter)
    describer: Describer = SamDescriber(plain.fingerprint) if hasattr(plain, "model") else ClassicalDescriber()
    (example,) = describer.describe(image, embedding, prompted[:1])
    regions: Sequence[SegmentedObject] = propose_regions(plain, image, lambda: embedding)
    if not regions:
        return
    rows = describer.describe(image, embedding, [one.run_lengths.mask for one in regions])
    cosines = rows @ example
    examples = Examples(example[None], rows[cosines < np.median(cosines)])

    def score(given: Any) -> Scores:
        return similarity_scores(given, examples)

    regions, rows = with_further_regions(segmenter, describer, image, embedding, regions, rows, {"": score})
    matches = match_regions(regions, rows, {"": score}, {"": MIN_SCORE})
    for match, mask in exact_masks(segmenter, embedding, regions, matches[:MAX_SIMILAR]):
        if mask.any() and all(overlap_share(mask, each) <= MAX_SHARED for each in prompted):
            yield ScoredMask(mask, match.score)
