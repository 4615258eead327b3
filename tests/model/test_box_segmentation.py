import numpy as np

from sam_model.box_segmentation import MAX_PROMPTS_PER_CALL, segment_boxes
from sam_testing.disc_segmenter import DiscSegmenter

IMAGE = np.zeros((30, 50, 3), np.uint8)
BOXES = [(x, 3.0, x + 2.0, 7.0) for x in np.arange(MAX_PROMPTS_PER_CALL + 4, dtype=float)]


def test_every_box_gets_its_mask_in_the_order_of_the_boxes() -> None:
    segmenter = DiscSegmenter()

    masks = list(segment_boxes(segmenter, segmenter.embed(IMAGE), BOXES))

    assert len(masks) == len(BOXES)
    for (x_min, *_), scored in zip(BOXES, masks, strict=True):
        assert np.argwhere(scored.mask)[0].tolist() == [3, int(x_min)]
        assert scored.mask.sum() == 8


def test_the_segmenter_is_asked_for_a_few_masks_at_a_time() -> None:
    segmenter = DiscSegmenter()
    masks = segment_boxes(segmenter, segmenter.embed(IMAGE), BOXES)

    next(masks)

    assert len(segmenter.prompts) == MAX_PROMPTS_PER_CALL


def test_no_box_is_no_call() -> None:
    segmenter = DiscSegmenter()

    assert list(segment_boxes(segmenter, segmenter.embed(IMAGE), [])) == []
    assert segmenter.prompts == []
