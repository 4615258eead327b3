import numpy as np

from sam_model.automatic_segmentation import segment_automatically
from sam_model.sam.automatic_masks import segment_everything
from sam_testing.colour_sam import ColourSam
from sam_testing.disc_segmenter import DiscSegmenter

IMAGE = np.zeros((120, 200, 3), np.uint8)


def test_a_segmenter_without_a_method_of_its_own_is_prompted_with_a_grid() -> None:
    segmenter = DiscSegmenter(score=0.9)

    found = segment_automatically(segmenter, IMAGE)

    assert len(found) == 64  # discs of a radius of 5, 25 and 15 pixels apart
    assert all(one.run_lengths.area > 60 for one in found)
    assert [(prompt.points[0].x, prompt.points[0].y) for prompt in segmenter.prompts[:2]] == [(12.5, 7.5), (37.5, 7.5)]


def test_an_object_under_several_points_is_found_once() -> None:
    found = segment_automatically(DiscSegmenter(), np.zeros((8, 16, 3), np.uint8))

    assert 0 < len(found) < 64


def test_masks_below_the_score_threshold_are_left_out() -> None:
    assert segment_automatically(DiscSegmenter(score=0.5), IMAGE, score_threshold=0.6) == []


def test_the_points_per_side_of_the_grid_can_be_chosen() -> None:
    segmenter, sam = DiscSegmenter(score=0.9), ColourSam()

    segment_automatically(segmenter, IMAGE, points_per_side=3)
    segment_automatically(sam, IMAGE, points_per_side=2)

    assert len(segmenter.prompts) == 9
    assert sam.largest_batch == 4


def test_a_sam_uses_its_automatic_masks() -> None:
    sam = ColourSam()

    found = segment_automatically(sam, IMAGE)

    expected = sorted(segment_everything(sam, IMAGE), key=lambda mask: -mask.predicted_iou)
    assert [one.box for one in found] == [mask.box for mask in expected]
