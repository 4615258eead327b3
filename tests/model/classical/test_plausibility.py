import numpy as np

from sam_model.classical.hypotheses import Sets
from sam_model.classical.plausibility import click_plausibility
from sam_model.classical.segmenter import ClassicalSegmenter

IMAGE = np.full((240, 320, 3), 120, np.uint8)
GRAPH = ClassicalSegmenter().embed(IMAGE).graph
HEIGHT, WIDTH = GRAPH.labels.shape


def square(x: float, y: float, half_side: float) -> Sets:
    """Return the regions (n,) of a square around a point, in working pixels."""
    return np.asarray(np.abs(GRAPH.centre - [x, y]).max(axis=1) < half_side)


def test_of_two_equal_squares_the_one_with_the_click_in_its_middle_is_more_plausible() -> None:
    x, y = WIDTH / 2, HEIGHT / 2
    sets = np.stack([square(x, y, 40), square(x + 28, y, 40)])

    in_middle, aside = click_plausibility(GRAPH, sets, np.array([x, y], np.float32))

    assert in_middle > aside


def test_the_plausibility_of_the_whole_image_and_of_one_region_is_finite() -> None:
    one = np.arange(GRAPH.count) == GRAPH.region_at((1.0, 1.0))

    plausibility = click_plausibility(GRAPH, np.stack([np.ones_like(one), one]), np.array([1, 1], np.float32))

    assert np.isfinite(plausibility).all()
