"""Masks of boxes: a segmenter turns boxes and an image's embedding into scored masks."""

from collections.abc import Iterator, Sequence

from sam_model.interfaces import E, Segmenter
from sam_model.types import Box, Prompt, ScoredMask

MAX_PROMPTS_PER_CALL = 16  # a call returns all its masks at full size: 200 MB for an image of 12 megapixels


def segment_boxes(segmenter: Segmenter[E], embedding: E, boxes: Sequence[Box]) -> Iterator[ScoredMask]:
    """Yield the mask of each box, in the order of the boxes.

    The segmenter is called with at most `MAX_PROMPTS_PER_CALL` boxes at a time, and only when the caller wants the next
    mask, so memory does not grow with the number of boxes. Masks are cleaned as the segmenter was configured
    (`sam_model.masks.cleaning.MaskCleaning`). A mask may be empty.

    Args:
        segmenter: makes the masks.
        embedding: of the image, made by this segmenter.
        boxes: (x_min, y_min, x_max, y_max) in pixels.

    Raises:
        ValueError: a box is outside the image or has no area, or the embedding was made by another model.
    """
    for start in range(0, len(boxes), MAX_PROMPTS_PER_CALL):
        yield from segmenter.segment(
            embedding, [Prompt(box=box) for box in boxes[start : start + MAX_PROMPTS_PER_CALL]]
        )
