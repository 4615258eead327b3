"""Negative examples from annotated images."""

from collections.abc import Sequence

import numpy as np

from sam_model.automatic_segmentation import SegmentedObject
from sam_model.exemplars.descriptors import Descriptors
from sam_model.types import Mask

MAX_SHARED = 0.3  # share of the smaller region: a proposal that shares more with an annotated region is a part of it


def background_of(
    regions: Sequence[SegmentedObject], descriptors: Descriptors, annotated: Sequence[Mask]
) -> Descriptors:
    """Return the descriptors (N, D) of the proposals that lie beside the annotated regions."""
    areas = [np.count_nonzero(mask) for mask in annotated]
    kept = []
    for position, region in enumerate(regions):
        mask = region.run_lengths.mask
        smaller = [max(1, min(area, region.run_lengths.area)) for area in areas]
        shared = (np.count_nonzero(mask & each) / size for each, size in zip(annotated, smaller, strict=True))
        if all(share <= MAX_SHARED for share in shared):
            kept.append(position)
    return descriptors[np.array(kept, np.intp)]
