"""Selections that are kept for the next click."""

import pickle

import numpy as np
import pytest

from sam_model.classical.colour_words import Floats
from sam_model.classical.region_graph import RegionGraph
from sam_model.classical.region_network import load_network
from sam_model.classical.region_selection import select_regions
from sam_model.classical.segmenter import ClassicalSegmenter
from sam_model.classical.selection_memory import KEPT, SelectionMemory
from sam_model.types import Box, Point, Prompt

IMAGE = np.random.default_rng(5).integers(0, 255, (90, 120, 3), dtype=np.uint8)
GRAPH = ClassicalSegmenter().embed(IMAGE).graph
CLICKS = tuple(Point(20.0 + 9 * k, 30.0 + 5 * (k % 3), k % 3 != 1) for k in range(6))
NETWORK = load_network()


class CountingNetwork:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, graph: RegionGraph, inputs: Floats) -> Floats:
        self.calls += 1
        return NETWORK(graph, inputs)


@pytest.mark.parametrize("box", [None, (10.0, 10.0, 200.0, 150.0), (10.0, 10.0, 45.0, 50.0)])
@pytest.mark.parametrize("clicks", [CLICKS, CLICKS[1:]])  # the second starts with a negative click
def test_kept_selections_change_no_answer(clicks: tuple[Point, ...], box: Box | None) -> None:
    memory = SelectionMemory(NETWORK)
    for k in range(len(clicks) + 1):
        if k or box:
            kept, fresh = memory.select(GRAPH, clicks[:k], box), select_regions(GRAPH, clicks[:k], box, NETWORK)
            assert (kept.probability is None) == (fresh.probability is None)
            if kept.probability is not None and fresh.probability is not None:
                assert np.array_equal(kept.probability, fresh.probability)
                assert kept.clicks == fresh.clicks


def test_one_click_more_runs_the_network_once() -> None:
    network = CountingNetwork()
    memory = SelectionMemory(network)

    calls = []
    for k in range(1, len(CLICKS) + 1):
        memory.select(GRAPH, CLICKS[:k], None)
        calls.append(network.calls)

    assert calls == list(range(1, len(CLICKS) + 1))


def test_another_image_has_its_own_selections_and_old_ones_are_forgotten() -> None:
    network = CountingNetwork()
    memory = SelectionMemory(network)
    other = ClassicalSegmenter().embed(IMAGE[::-1].copy()).graph

    memory.select(GRAPH, CLICKS[:1], None)
    memory.select(other, CLICKS[:3], None)
    assert network.calls == 4

    for k in range(KEPT):
        memory.select(other, (Point(k + 1.0, 5.0),), None)
    memory.select(GRAPH, CLICKS[:3], None)
    assert network.calls == 4 + KEPT + 3


def test_a_segmenter_is_pickled_for_another_process() -> None:
    segmenter = ClassicalSegmenter()
    embedding = segmenter.embed(IMAGE)
    prompts = [Prompt(CLICKS)]

    other = pickle.loads(pickle.dumps(segmenter))

    assert np.array_equal(other.segment(embedding, prompts)[0].mask, segmenter.segment(embedding, prompts)[0].mask)
