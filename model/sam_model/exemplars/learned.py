"""A classifier of descriptors for one label, learned from accepted and rejected objects (extra `[learning]`).

It replaces the similarity only if cross-validation says that it separates the examples better. The random forest is
what micro-sam uses to classify objects (Archit et al., Nature Methods 2025).
"""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_model.exemplars.descriptors import Descriptors
from sam_model.exemplars.similarity import CHUNK, Examples, Scores, similarity_scores

logger = logging.getLogger(__name__)

MIN_EXAMPLES = 10  # positive and negative ones, from which a classifier is tried
MAX_NEGATIVES = 2000
FOLDS = 5
MIN_GAIN = 0.01  # of the average precision: a smaller one may be chance

Scorer = Callable[[NDArray[Any]], Scores]  # descriptors (M, D) -> scores (M,) in 0..1


def scorer_of(examples: Examples) -> Scorer:
    """Return the better one of similarity and classifier for a label's examples.

    Without scikit-learn, or with fewer than `MIN_EXAMPLES` positive or negative examples, that is the similarity.
    """

    def similar(rows: NDArray[Any]) -> Scores:
        return similarity_scores(rows, examples)

    if min(len(examples.positive), len(examples.negative)) < MIN_EXAMPLES:
        return similar
    try:
        from sklearn.base import clone
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        return similar
    classifiers = {
        "logistic regression": LogisticRegression(C=10.0, class_weight="balanced", max_iter=1000),
        "random forest": RandomForestClassifier(200, class_weight="balanced", random_state=0, n_jobs=1),
    }
    rows, is_positive = _rows_of(examples)
    folds = _folds(is_positive)
    best, best_precision = None, _validated_similarity(rows, is_positive, folds) + MIN_GAIN
    for name, classifier in classifiers.items():
        scores = np.zeros(len(rows))
        for fold in range(FOLDS):
            learned = clone(classifier).fit(rows[folds != fold], is_positive[folds != fold])
            scores[folds == fold] = learned.predict_proba(rows[folds == fold])[:, 1]
        precision = average_precision(scores, is_positive)
        logger.debug("%s: average precision %.3f in cross-validation", name, precision)
        if precision > best_precision:
            best, best_precision = classifier, precision
    if best is None:
        return similar
    final = best.fit(rows, is_positive)

    def learned_scores(given: NDArray[Any]) -> Scores:
        found = np.empty(len(given), np.float32)
        for start in range(0, len(given), CHUNK):
            chunk = np.asarray(given[start : start + CHUNK], np.float32)
            found[start : start + CHUNK] = final.predict_proba(chunk)[:, 1]
        return found

    return learned_scores


def average_precision(scores: NDArray[Any], is_positive: NDArray[np.bool_]) -> float:
    """Return the mean precision at the rank of each positive, with the highest score first."""
    ranked = is_positive[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return float(precision[ranked].mean())


def _rows_of(examples: Examples) -> tuple[Descriptors, NDArray[np.bool_]]:
    """Return all examples (N, D) and whether each is positive; of many negatives, the nearest to the positives."""
    negative = examples.negative
    if len(negative) > MAX_NEGATIVES:
        nearest = (negative @ examples.positive.T).max(axis=1)
        negative = negative[np.argsort(-nearest, kind="stable")[:MAX_NEGATIVES]]
    rows = np.concatenate([examples.positive, negative])
    return rows, np.arange(len(rows)) < len(examples.positive)


def _folds(is_positive: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the fold of each example; each fold has its share of the positives."""
    folds = np.empty(len(is_positive), np.intp)
    for kind in (True, False):
        members = np.flatnonzero(is_positive == kind)
        folds[np.random.default_rng(0).permutation(members)] = np.arange(len(members)) % FOLDS
    return folds


def _validated_similarity(rows: Descriptors, is_positive: NDArray[np.bool_], folds: NDArray[np.intp]) -> float:
    scores = np.zeros(len(rows))
    for fold in range(FOLDS):
        is_known = folds != fold
        known = Examples(rows[is_known & is_positive], rows[is_known & ~is_positive])
        scores[~is_known] = similarity_scores(rows[~is_known], known)
    return average_precision(scores, is_positive)
