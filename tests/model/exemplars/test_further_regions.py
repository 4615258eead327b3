import cv2
import numpy as np

from sam_model.automatic_segmentation import SegmentedObject
from sam_model.classical.segmenter import ClassicalSegmenter
from sam_model.exemplars.classical_descriptor import ClassicalDescriber
from sam_model.exemplars.further_regions import with_further_regions
from sam_model.exemplars.similarity import Examples, similarity_scores
from sam_model.masks.boxes import box_from_mask
from sam_model.masks.coco_rle import run_lengths_from_mask
from sam_model.types import Image, Mask
from sam_testing.colour_sam import ColourSam
from sam_testing.drawn_classes import BLUE, RED

DESCRIBER = ClassicalDescriber()


def half_discs(places: list[tuple[int, int]]) -> tuple[Image, list[Mask]]:
    """Return an image (150, 240) with discs whose left half is red and whose right half is blue, and all halves."""
    image = np.full((150, 240, 3), (170, 165, 150), np.uint8)
    halves = []
    for x, y in places:
        disc = np.zeros(image.shape[:2], np.uint8)
        cv2.circle(disc, (x, y), 30, 1, -1)
        for colour, columns in ((RED, slice(0, x)), (BLUE, slice(x, None))):
            half = np.zeros(image.shape[:2], np.bool_)
            half[:, columns] = disc[:, columns] == 1
            image[half] = colour
            halves.append(half)
    return image, halves


def region(mask: Mask) -> SegmentedObject:
    box = box_from_mask(mask)
    assert box is not None
    return SegmentedObject(run_lengths_from_mask(mask), box, 1.0)


def test_parts_are_joined_if_their_union_is_more_like_the_example() -> None:
    image, (left, right) = half_discs([(120, 75)])
    positive = DESCRIBER.describe(image, None, [left | right])
    examples = Examples(positive, DESCRIBER.describe(image, None, [~(left | right)]))
    scores = {"": lambda rows: similarity_scores(rows, examples)}
    image, halves = half_discs([(50, 50), (170, 80)])
    regions = [region(mask) for mask in halves]
    rows = DESCRIBER.describe(image, None, halves)

    segmenter = ClassicalSegmenter()
    found, described = with_further_regions(segmenter, DESCRIBER, image, segmenter.embed(image), regions, rows, scores)
    other = ColourSam()
    same, _ = with_further_regions(other, DESCRIBER, image, other.embed(image), regions, rows, scores)  # type: ignore[arg-type]

    assert len(described) == len(found)
    assert list(found[-4:]) == regions
    masks = [one.run_lengths.mask for one in found[:-4]]
    for left, right in (halves[:2], halves[2:]):
        assert any(np.array_equal(mask, left | right) for mask in masks)
    assert not any((mask & (halves[0] | halves[1])).any() and (mask & (halves[2] | halves[3])).any() for mask in masks)
    assert same is regions
