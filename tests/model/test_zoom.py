"""Crops for small objects: where they are, what prompts become in them, and which answer is taken."""

import numpy as np
import pytest

from sam_model.sam.segmenter import SamSegmenter
from sam_model.types import Mask, Point, Prompt, ScoredMask
from sam_model.zoom import MIN_SIDE, Crop, closer_crop, first_crop, is_better, segment_closely
from sam_testing.seeded_checkpoints import TINY_MOBILE_SAM, seeded_sam

SIZE = (1500, 2000)  # height, width


def mask_of(x_min: int, y_min: int, x_max: int, y_max: int, size: tuple[int, int] = SIZE) -> Mask:
    mask = np.zeros(size, dtype=bool)
    mask[y_min:y_max, x_min:x_max] = True
    return mask


def click(x: float, y: float) -> Prompt:
    return Prompt((Point(x, y),))


def test_a_small_mask_gets_a_crop_with_the_mask_inside_and_near_clicks_the_same_crop() -> None:
    answer = ScoredMask(mask_of(1000, 700, 1020, 710), 0.9)

    crop = first_crop(answer, click(1010, 705), SIZE)

    assert crop is not None
    assert (crop.x_max - crop.x_min, crop.y_max - crop.y_min) == (MIN_SIDE, MIN_SIDE)
    assert crop.x_min + 20 < 1000 < 1020 < crop.x_max - 20
    assert crop.y_min + 20 < 700 < 710 < crop.y_max - 20
    assert first_crop(answer, click(1006, 702), SIZE) == crop


@pytest.mark.parametrize(
    ("answer", "prompt", "has_crop"),
    [
        (ScoredMask(mask_of(0, 0, 400, 400), 0.9), click(10, 10), False),
        (ScoredMask(mask_of(1000, 700, 1066, 710), 0.9), click(1010, 705), True),
        (ScoredMask(mask_of(1000, 700, 1068, 710), 0.9), click(1010, 705), False),
        (ScoredMask(mask_of(0, 0, 1000, 1000), 0.9), Prompt(box=(500, 500, 560, 510)), True),
        (ScoredMask(mask_of(500, 500, 510, 510), 0.9), Prompt(box=(500, 500, 700, 510)), False),
        (ScoredMask(mask_of(0, 0, 9, 9), 0.9), Prompt((Point(5, 5), Point(900, 900))), False),
        (ScoredMask(mask_of(0, 0, 0, 0), 0.9), click(10, 10), False),
    ],
    ids=["large", "below 1/30", "above 1/30", "small box", "large box", "clicks far apart", "empty, small image"],
)
def test_objects_below_a_thirtieth_of_the_long_side_get_a_crop(
    answer: ScoredMask, prompt: Prompt, has_crop: bool
) -> None:
    assert (first_crop(answer, prompt, SIZE) is not None) == has_crop


def test_an_uncertain_click_in_a_large_image_gets_a_crop_of_an_eighth_and_then_a_smaller_one() -> None:
    size, prompt = (3000, 4000), click(3990, 10)
    answer = ScoredMask(mask_of(1000, 0, 4000, 2000, size), 0.4)

    crop = first_crop(answer, prompt, size)
    assert crop is not None
    second = closer_crop(crop, ScoredMask(np.ones((256, 256), dtype=bool), 0.5), prompt, size)

    assert crop == Crop(3744, 0, 4000, 256)
    assert second == Crop(3872, 0, 4000, 128)
    assert first_crop(ScoredMask(answer.mask, 0.8), prompt, size) is None


def test_prompts_move_with_the_crop_and_negative_points_outside_are_left_out() -> None:
    crop = Crop(100, 50, 228, 178)
    points = (Point(110.5, 60), Point(99, 60, False), Point(120, 177.5, False))

    assert crop.prompt(Prompt(points)).points == (Point(10.5, 10), Point(20, 127.5, False))
    assert crop.prompt(Prompt(box=(110, 60, 120.5, 70))).box == (10, 10, 20.5, 20)


def test_a_mask_that_the_crop_cuts_off_is_not_taken_except_at_the_edge_of_the_image() -> None:
    answer = ScoredMask(mask_of(0, 700, 20, 710), 0.5)
    whole = np.zeros((MIN_SIDE, MIN_SIDE), dtype=bool)
    at_left, at_top = whole.copy(), whole.copy()
    at_left[50:60, :20] = True
    at_top[:60, 10:20] = True

    at_image_edge = segment_closely(answer, click(5, 705), SIZE, lambda *_: ScoredMask(at_left, 0.9))
    cut_off = segment_closely(answer, click(5, 705), SIZE, lambda *_: ScoredMask(at_top, 0.9))

    assert at_image_edge.score == 0.9
    assert cut_off is answer


@pytest.mark.parametrize(
    ("closer", "score", "is_taken"),
    [
        ((12, 10, 30, 30), 0.1, True),
        ((60, 60, 70, 70), 0.79, False),
        ((60, 60, 70, 70), 0.81, True),
    ],
    ids=["same object", "other object, lower score", "other object, same score"],
)
def test_the_closer_mask_is_taken_if_it_agrees_or_scores_no_less(
    closer: tuple[int, int, int, int], score: float, is_taken: bool
) -> None:
    crop = Crop(1000, 700, 1128, 828)
    answer = ScoredMask(mask_of(1010, 710, 1030, 730), 0.9)
    found = ScoredMask(mask_of(*closer, (128, 128)), score)

    assert is_better(found, crop, answer) == is_taken


def test_there_are_at_most_two_crops() -> None:
    size, seen = (3000, 4000), []

    def look(crop: Crop, _: Prompt) -> ScoredMask:
        seen.append(crop)
        inside = np.zeros((crop.y_max - crop.y_min, crop.x_max - crop.x_min), dtype=bool)
        inside[60, 60] = True
        return ScoredMask(inside, 0.1)

    segment_closely(ScoredMask(mask_of(0, 0, 4000, 2000, size), 0.2), click(2000, 1000), size, look)

    assert len(seen) == 2


def test_a_networks_answer_is_the_one_for_the_cut_image_and_the_moved_prompt() -> None:
    segmenter = SamSegmenter(seeded_sam(TINY_MOBILE_SAM), "tiny")
    image = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    prompt = click(1010.5, 705.25)
    x, y = 960, 640  # hand-computed: the centre minus half the side, on the grid of 32 pixels
    (expected,) = segmenter.segment(segmenter.embed(image[y : y + 128, x : x + 128].copy()), [click(50.5, 65.25)])
    seen = []

    def look(crop: Crop, moved: Prompt) -> ScoredMask:
        (found,) = segmenter.segment(segmenter.embed(crop.cut(image)), [moved])
        seen.append((crop, found))
        return ScoredMask(mask_of(20, 20, 60, 60, (128, 128)) & found.mask, found.score)

    answer = ScoredMask(mask_of(1000, 700, 1020, 710), 0.0)
    best = segment_closely(answer, prompt, SIZE, look)

    assert seen[0][0] == Crop(x, y, x + 128, y + 128)
    assert np.array_equal(seen[0][1].mask, expected.mask)
    assert seen[0][1].score == expected.score
    part = best.mask[y : y + 128, x : x + 128]
    assert np.array_equal(part, mask_of(20, 20, 60, 60, (128, 128)) & expected.mask)
    assert best.mask.sum() == part.sum()
