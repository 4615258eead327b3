import numpy as np
import pytest

from sam_model.automatic_segmentation import SegmentedObject
from sam_model.classical.segmenter import ClassicalSegmenter
from sam_model.exemplars.classical_descriptor import ClassicalDescriber
from sam_model.exemplars.examples import background_of
from sam_model.exemplars.learned import scorer_of
from sam_model.exemplars.matches import Match, exact_masks, match_regions
from sam_model.exemplars.proposals import propose_regions
from sam_model.exemplars.similarity import Examples
from sam_model.masks.coco_rle import run_lengths_from_mask
from sam_model.types import Mask
from sam_testing.drawn_classes import ALIKE, CLASSES, DrawnClass, drawn_classes

SEGMENTER, DESCRIBER = ClassicalSegmenter(), ClassicalDescriber()


def iou(one: Mask, other: Mask) -> float:
    return float((one & other).sum() / (one | other).sum())


def found_by_one_example(classes: tuple[DrawnClass, ...], seeds: range) -> tuple[list[float], int]:
    """Return the IoU of each match with the nearest object of the first class, and the number of its objects."""
    image, objects = drawn_classes(100, classes)
    embedding = SEGMENTER.embed(image)
    regions = propose_regions(SEGMENTER, image, lambda: embedding)
    rows = DESCRIBER.describe(image, embedding, [one.run_lengths.mask for one in regions])
    masks = [one.mask for one in objects if one.kind == classes[0]]
    negative = background_of(regions, rows, masks)
    scorer = scorer_of(Examples(DESCRIBER.describe(image, embedding, masks[:1]), negative))
    ious, total = [], 0
    for seed in seeds:
        image, objects = drawn_classes(seed, classes)
        embedding = SEGMENTER.embed(image)
        regions = propose_regions(SEGMENTER, image, lambda: embedding)  # noqa: B023  # called at once
        rows = DESCRIBER.describe(image, embedding, [one.run_lengths.mask for one in regions])
        matches = match_regions(regions, rows, {"it": scorer}, {"it": 0.5})
        wanted = [one.mask for one in objects if one.kind == classes[0]]
        total += len(wanted)
        ious += [
            max(iou(mask, each) for each in wanted) for _, mask in exact_masks(SEGMENTER, embedding, regions, matches)
        ]
    return ious, total


@pytest.mark.parametrize("classes", [CLASSES, ALIKE], ids=["other shape and colour", "same shape or colour"])
def test_one_example_finds_the_objects_of_its_class_and_no_others(classes: tuple[DrawnClass, ...]) -> None:
    ious, total = found_by_one_example(classes, range(4))

    right = sum(value > 0.8 for value in ious)
    assert right == total
    assert len(ious) - right <= total // 8


def region(x_min: int, y_min: int, x_max: int, y_max: int) -> SegmentedObject:
    mask = np.zeros((40, 60), bool)
    mask[y_min:y_max, x_min:x_max] = True
    return SegmentedObject(run_lengths_from_mask(mask), (x_min, y_min, x_max, y_max), 1.0)


def test_an_object_is_found_once_with_the_label_of_the_higher_score() -> None:
    regions = [region(0, 0, 30, 20), region(2, 2, 28, 18), region(40, 0, 60, 20)]
    rows = np.array([[0.6, 0.75], [0.5, 0.875], [0.625, 0.25]], np.float32)
    scores = {"a": lambda given: given[:, 0], "b": lambda given: given[:, 1]}

    matches = match_regions(regions, rows, scores, {"a": 0.5, "b": 0.7})

    assert matches == [Match(1, "b", 0.875), Match(2, "a", 0.625)]
    assert match_regions(regions, rows, scores, {"a": 0.9, "b": 0.9}) == []
    assert match_regions([], rows[:0], scores, {"a": 0.9, "b": 0.9}) == []
