"""What refines what: the answer to a request depends on the image and the request alone."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from sam_backend.interactive.previous_logits import MAX_REFINEMENTS, PreviousLogits, earlier_prompts
from sam_model.registry import load_segmenter
from sam_model.sam.segmenter import SamEmbedding, SamSegmenter
from sam_model.types import Point, Prompt, ScoredMask
from sam_testing.disc_segmenter import DiscEmbedding, DiscSegmenter
from sam_testing.seeded_checkpoints import write_seeded_checkpoint

POINTS = tuple(Point(3 + 5 * number, 4 + 3 * number, is_positive=number % 3 != 1) for number in range(12))


def clicks(*numbers: int) -> Prompt:
    return Prompt(tuple(POINTS[number] for number in numbers))


class CountingSegmenter(DiscSegmenter):
    """Its logits are made of all that it was asked: other prompts or mask inputs give other logits."""

    def segment(self, embedding: DiscEmbedding, prompts: Sequence[Prompt]) -> list[ScoredMask]:
        self.prompts.extend(prompts)
        return [
            ScoredMask(np.ones(embedding.image_size, bool), 0.9, np.float32([[self.told(prompt)]]))
            for prompt in prompts
        ]

    @staticmethod
    def told(prompt: Prompt) -> float:
        before = 0.0 if prompt.mask_input is None else float(prompt.mask_input[0, 0])
        return (31 * before + sum(number * (2 + point.x) for number, point in enumerate(prompt.points, 1))) % 1000


def answer(answers: PreviousLogits, segmenter: CountingSegmenter, prompt: Prompt, image: str = "image") -> float | None:
    """The mask input that the prompt gets, after which its own answer is remembered."""
    embedding = DiscEmbedding((20, 40))
    found = answers.mask_input(segmenter, embedding, image, prompt)
    answers.remember(image, embedding, prompt, np.float32([[segmenter.told(Prompt(prompt.points, mask_input=found))]]))
    return None if found is None else float(found[0, 0])


def test_the_same_clicks_refine_the_same_whatever_was_asked_before() -> None:
    asked = [clicks(0), clicks(0, 2), clicks(0, 2, 3), clicks(2, 0), clicks(2), clicks(0, 3), clicks(0, 2, 3, 5)]
    alone = [answer(PreviousLogits(), CountingSegmenter(), prompt) for prompt in asked]

    for order in itertools.islice(itertools.permutations(range(len(asked))), 0, 5040, 97):
        answers = PreviousLogits(max_entries=3)
        found = {place: answer(answers, CountingSegmenter(), asked[place]) for place in order}

        assert [found[place] for place in range(len(asked))] == alone


def test_a_growing_context_costs_no_decoder_call_more() -> None:
    answers, segmenter = PreviousLogits(), CountingSegmenter()

    for count in range(1, len(POINTS) + 1):
        answer(answers, segmenter, Prompt(POINTS[:count]))

    assert segmenter.prompts == []


def test_clicks_that_are_not_remembered_are_asked_again_in_their_order() -> None:
    segmenter = CountingSegmenter()

    answer(PreviousLogits(), segmenter, clicks(0, 2, 3))

    assert segmenter.prompts == [clicks(0), clicks(0, 2)]
    assert segmenter.prompts[0].mask_input is None
    assert segmenter.prompts[1].mask_input is not None


def test_a_click_that_was_dragged_is_asked_again_with_those_after_it() -> None:
    answers, segmenter = PreviousLogits(), CountingSegmenter()
    for count in (1, 2, 3):
        answer(answers, segmenter, Prompt(clicks(0, 2, 3, 5).points[:count]))

    answer(answers, segmenter, clicks(0, 8, 3, 5))

    assert segmenter.prompts == [clicks(0, 8), clicks(0, 8, 3)]


def test_no_more_than_eight_clicks_are_ever_asked_again() -> None:
    steps = earlier_prompts(Prompt(POINTS * 10))

    assert [len(step.points) for step in steps] == list(range(1, MAX_REFINEMENTS + 1))


def test_clicks_beside_the_object_mean_none_until_one_lies_on_it() -> None:
    assert earlier_prompts(clicks(1, 4, 0, 2)) == [clicks(1, 4, 0)]


def test_boxes_and_first_clicks_refine_nothing() -> None:
    assert earlier_prompts(clicks(0)) == []
    assert earlier_prompts(Prompt(POINTS[:4], box=(0, 0, 9, 9))) == []


def test_other_images_are_not_mixed_up() -> None:
    answers, segmenter = PreviousLogits(), CountingSegmenter()
    answer(answers, segmenter, clicks(0), "one image")

    answer(answers, segmenter, clicks(0, 2), "another")

    assert segmenter.prompts == [clicks(0)]


def test_a_segmenter_without_mask_inputs_is_asked_nothing_more() -> None:
    segmenter = CountingSegmenter()
    segmenter.uses_mask_input = False

    assert answer(PreviousLogits(), segmenter, clicks(0, 2, 3)) is None
    assert segmenter.prompts == []


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory) -> tuple[SamSegmenter, SamEmbedding]:
    path: Path = write_seeded_checkpoint(tmp_path_factory.mktemp("weights") / "seeded.pt")
    segmenter = load_segmenter(str(path))
    image = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    return segmenter, segmenter.embed(image)


def test_sam_answers_clicks_one_by_one_as_it_answers_them_after_a_restart(
    sam: tuple[SamSegmenter, SamEmbedding],
) -> None:
    segmenter, embedding = sam
    growing = PreviousLogits()

    for count in range(1, len(POINTS) + 1):
        prompt = Prompt(POINTS[:count])
        remembered = growing.mask_input(segmenter, embedding, "image", prompt)
        replayed = PreviousLogits().mask_input(segmenter, embedding, "image", prompt)
        (found,) = segmenter.segment(embedding, [Prompt(prompt.points, mask_input=remembered)])
        assert found.low_res_logits is not None
        growing.remember("image", embedding, prompt, found.low_res_logits)

        assert (remembered is None) == (replayed is None) == (count == 1)
        if remembered is not None and replayed is not None:
            np.testing.assert_array_equal(remembered, replayed)
