import sys

import numpy as np
import pytest

from sam_model.exemplars.descriptors import Descriptors, unit_length
from sam_model.exemplars.learned import average_precision, scorer_of
from sam_model.exemplars.similarity import Examples, similarity_scores


def rows(count: int, seed: int, is_positive: bool) -> Descriptors:
    """Return rows whose first number tells the class; the others are large and random, which misleads a cosine."""
    found = np.random.default_rng(seed).normal(size=(count, 40))
    found[:, 0] = 1.5 if is_positive else -1.5
    return unit_length(found)


def precision(examples: Examples) -> float:
    given = np.concatenate([rows(100, 8, True), rows(400, 9, False)])
    return average_precision(scorer_of(examples)(given), np.arange(500) < 100)


def test_a_classifier_replaces_the_similarity_only_where_it_is_better() -> None:
    few = Examples(rows(9, 0, True), rows(40, 1, False))
    many = Examples(rows(20, 0, True), rows(80, 1, False))
    given = np.concatenate([rows(100, 8, True), rows(400, 9, False)])
    by_similarity = average_precision(similarity_scores(given, many), np.arange(500) < 100)

    assert scorer_of(few).__name__ == "similar"
    assert precision(many) > by_similarity + 0.05
    easy = Examples(unit_length(np.eye(12)[:1] + 0.01 * rows(20, 2, True)[:, :12]), unit_length(np.eye(12)[1:]))
    assert scorer_of(easy).__name__ == "similar"  # similarity separates these completely


def test_without_scikit_learn_the_similarity_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.base", None)

    assert scorer_of(Examples(rows(20, 0, True), rows(80, 1, False))).__name__ == "similar"


def test_a_score_is_high_near_a_positive_example_and_low_near_a_negative_one() -> None:
    positive, negative = np.eye(4, dtype=np.float32)[:1], np.eye(4, dtype=np.float32)[1:]
    between = unit_length(np.array([[1, 1, 0, 0], [1, 0.1, 0, 0]]))

    scores = similarity_scores(
        np.concatenate([positive, negative, between]).astype(np.float16), Examples(positive, negative)
    )

    assert scores[0] == pytest.approx(1, abs=0.03)
    assert scores[1:4] == pytest.approx(np.zeros(3), abs=1e-3)
    assert 0.2 < scores[4] < 0.5 < scores[5]
    alone = similarity_scores(positive, Examples(positive, negative[:0]))
    assert alone[0] > 0.9
