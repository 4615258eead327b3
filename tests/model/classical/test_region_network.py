"""The weights of the region network that come with the package, and how they are stored."""

from pathlib import Path

import numpy as np

from sam_model.classical import region_network
from sam_model.classical.region_network import RegionNetwork, load_network, logit, save_network
from sam_model.classical.segmenter import ClassicalSegmenter


def small_network() -> RegionNetwork:
    rng = np.random.default_rng(2)
    shapes = ((4,), (4,), (2, 5, 3), (2, 2, 4, 3), (2, 2, 3, 3), (2, 4, 1), (2,))
    return RegionNetwork(*(rng.uniform(0.1, 1, shape).astype(np.float32) for shape in shapes))


def test_the_weights_are_a_few_kilobytes_with_their_source_and_licence_beside_them() -> None:
    stated = region_network.WEIGHTS.with_suffix(".txt").read_text()

    assert region_network.WEIGHTS.stat().st_size < 20_000
    assert f"{sum(values.size for values in vars(load_network()).values()):,} numbers" in stated
    assert "CC BY 4.0" in stated
    assert "COCO Consortium" in stated


def test_saved_weights_are_loaded_again(tmp_path: Path) -> None:
    network = small_network()

    save_network(network, tmp_path / "network.npz")
    loaded = load_network(tmp_path / "network.npz")

    for name, values in vars(network).items():
        assert np.allclose(getattr(loaded, name), values, atol=1e-3)  # float16 has 11 bits


def test_neighbours_across_weak_borders_change_a_region_more() -> None:
    image = np.full((120, 160, 3), 90, np.uint8)
    image[:, 80:] = (200, 40, 40)
    graph = ClassicalSegmenter().embed(image).graph
    left, right = graph.region_at((70, 100)), graph.region_at((graph.labels.shape[1] - 70, 100))

    weights = graph.mixing.toarray()
    across = weights[graph.centre[:, 0] < graph.labels.shape[1] / 2][:, graph.centre[:, 0] > graph.labels.shape[1] / 2]

    assert left != right
    assert np.allclose(weights.sum(axis=1), 1, atol=1e-5)
    assert across.max() < 0.01


def test_the_network_adds_its_logit_to_that_of_the_probability_before() -> None:
    graph = ClassicalSegmenter().embed(np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)).graph
    silent = small_network()
    silent.last[:] = 0
    inputs = np.random.default_rng(1).uniform(0, 1, (graph.count, 4)).astype(np.float32)

    probability = silent(graph, inputs)

    expected = silent.before.mean() * logit(inputs[:, 0], region_network.CERTAIN)
    assert np.allclose(logit(probability, 1e-6), expected, atol=1e-4)
