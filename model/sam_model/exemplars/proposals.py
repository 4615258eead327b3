"""Proposals: regions of an image that may be an object, from any segmenter."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from sam_model.automatic_segmentation import SegmentedObject, segment_automatically
from sam_model.box_segmentation import segment_boxes
from sam_model.interfaces import Detector, Segmenter
from sam_model.masks.boxes import box_from_mask
from sam_model.masks.coco_rle import run_lengths_from_mask
from sam_model.types import Image

if TYPE_CHECKING:
    from sam_model.classical.segmenter import ClassicalEmbedding

MAX_PROPOSALS = 100  # of one image
MIN_DETECTED_SCORE = 0.05  # the examples decide what is an object


def propose_regions(
    segmenter: Segmenter[Any], image: Image, embed: Callable[[], Any], limit: int = MAX_PROPOSALS
) -> list[SegmentedObject]:
    """Return at most `limit` regions that may be an object, the likeliest ones first; they may overlap.

    SAM and FastSAM segment everything. The classical segmenter's superpixels are merged.

    Args:
        segmenter: any segmenter.
        image: RGB uint8 (H, W, 3).
        embed: returns the image's embedding by the segmenter.
        limit: maximum number of regions.

    Raises:
        ValueError: `image` is not RGB uint8.
    """
    if hasattr(segmenter, "model") or hasattr(segmenter, "find_masks"):  # SAM, FastSAM
        return segment_automatically(segmenter, image, embed=embed)[:limit]
    from sam_model.classical.segmenter import ClassicalEmbedding  # with SciPy, which a service starts without

    embedding = embed()
    if isinstance(embedding, ClassicalEmbedding):
        return list(_merged(embedding, limit))
    return segment_automatically(segmenter, image, embed=lambda: embedding)[:limit]


def propose_detected(
    detector: Detector, segmenter: Segmenter[Any], image: Image, embed: Callable[[], Any], limit: int = MAX_PROPOSALS
) -> list[SegmentedObject]:
    """Return the objects of any class that a detector finds, with their masks, highest-scoring first.

    Args:
        detector: finds the boxes; its classes do not matter.
        segmenter: makes the masks.
        image: RGB uint8 (H, W, 3).
        embed: returns the image's embedding by the segmenter.
        limit: maximum number of objects.

    Raises:
        ValueError: `image` is not RGB uint8.
    """
    found = detector.detect(image, score_threshold=MIN_DETECTED_SCORE, max_detections=limit)
    if not found:
        return []
    regions = []
    for one, scored in zip(found, segment_boxes(segmenter, embed(), [one.box for one in found]), strict=True):
        box = box_from_mask(scored.mask)
        if box is not None:
            regions.append(SegmentedObject(run_lengths_from_mask(scored.mask), box, one.score))
    return regions


def _merged(embedding: "ClassicalEmbedding", limit: int) -> Iterator[SegmentedObject]:
    from sam_model.exemplars.region_tree import merged_regions

    height, width = embedding.image_size
    labels = cv2.resize(embedding.graph.labels, (width, height), interpolation=cv2.INTER_NEAREST)
    regions = merged_regions(embedding.graph)[:limit]
    for region in regions:
        chosen = np.zeros(embedding.graph.count, np.bool_)
        chosen[region.members] = True
        mask = chosen[labels]
        box = box_from_mask(mask)
        if box is not None:
            score = max(0.0, 1 - float(np.exp(-region.contrast)))
            yield SegmentedObject(run_lengths_from_mask(mask), box, score)
