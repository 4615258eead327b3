import numpy as np

from sam_backend.interactive.similar import similar_objects
from sam_model.classical.segmenter import ClassicalSegmenter
from sam_model.types import Mask
from sam_testing.drawn_classes import STAR, drawn_classes


def iou(one: Mask, other: Mask) -> float:
    return float(np.count_nonzero(one & other) / np.count_nonzero(one | other))


def test_the_other_objects_of_the_same_kind_are_found_and_not_the_prompted_one_again() -> None:
    segmenter = ClassicalSegmenter()
    for seed in (1, 3, 4):
        image, objects = drawn_classes(seed)
        first, *others = [one.mask for one in objects if one.kind == STAR]

        found = [one.mask for one in similar_objects(segmenter, lambda: image, segmenter.embed(image), [first])]  # noqa: B023

        assert len(found) == len(others) > 0
        assert all(max(iou(mask, other) for other in others) > 0.8 for mask in found)
