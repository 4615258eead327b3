import numpy as np

from sam_backend.earlier_answers import EarlierAnswers


def logits(value: float) -> np.ndarray:
    return np.full((4, 4), value, dtype=np.float32)


def test_a_new_click_finds_the_answer_to_the_clicks_before() -> None:
    answers = EarlierAnswers()
    answers.remember("image", ["a"], logits(1))
    answers.remember("image", ["a", "b"], logits(2))

    assert answers.before("image", ["a", "b"]) is not None
    assert answers.before("image", ["a", "b", "c"])[0, 0] == 2
    assert answers.before("image", ["a", "b"])[0, 0] == 1


def test_the_place_of_the_new_click_in_the_list_does_not_matter() -> None:
    answers = EarlierAnswers()
    answers.remember("image", ["a", "c"], logits(1))

    assert answers.before("image", ["a", "b", "c"])[0, 0] == 1


def test_first_clicks_other_images_and_dragged_points_find_nothing() -> None:
    answers = EarlierAnswers()
    answers.remember("image", ["a"], logits(1))

    assert answers.before("image", ["a"]) is None
    assert answers.before("other image", ["a", "b"]) is None
    assert answers.before("image", ["a, dragged", "b"]) is None


def test_the_oldest_answers_are_forgotten() -> None:
    answers = EarlierAnswers(at_most=2)
    for name in ("a", "b", "c"):
        answers.remember("image", [name], logits(1))

    assert answers.before("image", ["a", "x"]) is None
    assert answers.before("image", ["c", "x"]) is not None
