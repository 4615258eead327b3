"""The graph cut of the first answer on drawn images."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sam_model.classical.graph_cut import with_cut
from sam_model.classical.region_graph import RegionGraph
from sam_model.classical.segmenter import ClassicalSegmenter

SIDE = 256  # pixels


def graph_of_square() -> tuple[RegionGraph, NDArray[np.bool_]]:
    """Return the superpixels of a speckled square on speckled ground, and which of them are in the square."""
    random = np.random.default_rng(4)
    image = np.where(random.random((SIDE, SIDE, 1)) < 0.5, [40, 90, 40], [80, 140, 60])
    image[80:176, 80:176] = np.where(random.random((96, 96, 1)) < 0.5, [150, 90, 50], [190, 130, 80])
    graph = ClassicalSegmenter().embed(image.astype(np.uint8)).graph
    centre = graph.centre / graph.labels.shape[::-1] * SIDE
    return graph, np.asarray(((centre > 80) & (centre < 176)).all(axis=1))


def test_an_answer_that_is_too_large_is_cut_to_the_object() -> None:
    graph, square = graph_of_square()
    centre = graph.centre / graph.labels.shape[::-1] * SIDE
    away = np.abs(centre - SIDE / 2).max(axis=1)
    start = np.select([away < 30, away < 76], [0.95, 0.6], 0.01).astype(np.float32)

    after = with_cut(graph, start)

    assert np.mean((start > 0.5) == square) < 0.9
    assert np.mean((after > 0.5) == square) > 0.98


@pytest.mark.parametrize("value", [0.01, 0.6, 0.99])
def test_an_answer_without_object_or_without_ground_stays(value: float) -> None:
    graph, _ = graph_of_square()
    start = np.full(graph.count, value, np.float32)

    assert np.array_equal(with_cut(graph, start), start)
