from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from sam_backend.interactive.candidates import candidate_masks, is_ambiguous
from sam_model.types import Mask, Point, Prompt, ScoredMask
from sam_testing.disc_segmenter import DiscEmbedding, DiscSegmenter

SIZE = (60, 90)
CLICK = Prompt((Point(30.0, 20.0),))


def square(side: int) -> Mask:
    mask = np.zeros(SIZE, dtype=bool)
    mask[20 - side : 20 + side, 30 - side : 30 + side] = True
    return mask


class ThreeMasks(DiscSegmenter):
    """Has three masks for a point, as SAM, one of which is nearly the best one."""

    def segment(self, embedding: Any, prompts: Sequence[Prompt]) -> list[ScoredMask]:
        self.prompts.extend(prompts)
        others = (ScoredMask(square(19), 0.8), ScoredMask(square(3), 0.4), ScoredMask(square(12), 0.7))
        return [ScoredMask(square(20), 0.9, alternatives=others) for _ in prompts]


def test_only_a_single_positive_point_is_ambiguous() -> None:
    assert is_ambiguous(CLICK)
    assert not is_ambiguous(Prompt((Point(1, 1, is_positive=False),)))
    assert not is_ambiguous(Prompt((Point(1, 1), Point(2, 2))))
    assert not is_ambiguous(Prompt((Point(1, 1),), (0, 0, 5, 5)))


@pytest.mark.parametrize(("count", "scores"), [(1, [0.9]), (2, [0.9, 0.7]), (3, [0.9, 0.7, 0.4])])
def test_the_alternatives_of_a_segmenter_without_those_that_are_nearly_equal(count: int, scores: list[float]) -> None:
    segmenter = ThreeMasks()

    found = candidate_masks(segmenter, DiscEmbedding(SIZE), CLICK, count)

    assert [one.score for one in found] == scores
    assert [prompt.multimask for prompt in segmenter.prompts] == [True]


def test_a_segmenter_with_one_mask_is_asked_with_boxes_of_several_sizes_in_the_image() -> None:
    segmenter = DiscSegmenter()

    first, *others = candidate_masks(segmenter, DiscEmbedding(SIZE), CLICK, 3)

    boxes = [prompt.box for prompt in segmenter.prompts if prompt.box is not None]
    assert boxes == [(25.5, 15.5, 34.5, 24.5), (18.0, 8.0, 42.0, 32.0), (3.0, 0.0, 57.0, 47.0)]
    assert all(prompt.points == CLICK.points for prompt in segmenter.prompts)
    assert len(others) == 2
    assert first.mask.sum() < max(one.mask.sum() for one in others)
