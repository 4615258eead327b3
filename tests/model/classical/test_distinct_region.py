"""The region of a click between sharp edges, on drawings and small objects, and its absence elsewhere."""

import cv2
import numpy as np
import pytest

from sam_model.classical.distinct_region import distinct_region
from sam_model.classical.segmenter import ClassicalSegmenter
from sam_model.types import Image, Mask, Point, Prompt

segmenter = ClassicalSegmenter()


def iou(one: Mask, other: Mask) -> float:
    return np.count_nonzero(one & other) / np.count_nonzero(one | other)


def square() -> tuple[Image, Mask]:
    mask = np.zeros((96, 128), bool)
    mask[24:72, 32:80] = True
    image = np.full((96, 128, 3), 90, np.uint8)
    image[mask] = (255, 0, 0)
    return image, mask


def uneven(height: int, width: int, seed: int) -> Image:
    """Grey with soft spots and noise."""
    rng = np.random.default_rng(seed)
    spots = rng.normal(0, 15, (height // 40, width // 40, 3))
    spots = cv2.resize(spots, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(120 + spots + rng.normal(0, 5, spots.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("x", "y"), [(56, 48), (34, 26), (78, 70), (20, 20), (126, 94)])
def test_a_click_anywhere_in_a_plain_drawing_gives_its_part_to_the_pixel(x: int, y: int) -> None:
    image, mask = square()
    part = mask if mask[y, x] else ~mask

    answer = segmenter.segment(segmenter.embed(image), [Prompt((Point(x + 0.5, y + 0.5),))])[0]

    assert np.array_equal(answer.mask, part)
    assert answer.score > 0.85


def test_later_clicks_add_and_remove_plain_parts() -> None:
    image, mask = square()
    other = np.zeros_like(mask)
    other[30:60, 92:120] = True
    image[other] = (30, 60, 220)
    embedding = segmenter.embed(image)
    both = Prompt((Point(56, 48), Point(100, 40)))
    without = Prompt((Point(56, 48), Point(100, 40), Point(110, 50, is_positive=False)))

    added = segmenter.segment(embedding, [both])[0].mask
    removed = segmenter.segment(embedding, [Prompt((Point(56, 48), Point(5, 5, is_positive=False)))])[0].mask
    corrected = segmenter.segment(embedding, [without])[0].mask

    assert iou(added, mask | other) > 0.99  # four corner pixels are missing
    assert np.array_equal(removed, mask)
    assert corrected[40, 100]  # both clicks are in one plain part: the network decides between them
    assert not corrected[50, 110]


@pytest.mark.parametrize("size", [12, 16, 24, 40])
def test_a_click_finds_a_small_object_on_uneven_ground(size: int) -> None:
    image, mask = uneven(120, 128, size), np.zeros((120, 128), np.uint8)
    cv2.ellipse(mask, (75, 52), (size // 2, max(2, size // 3)), 30, 0, 360, 1, -1)
    image[mask > 0] = np.clip(image[mask > 0] + np.array([70.0, -40.0, 30.0]), 0, 255)

    answer = segmenter.segment(segmenter.embed(image), [Prompt((Point(75.5, 52.5),))])[0]

    assert iou(answer.mask, mask > 0) > 0.9


@pytest.mark.parametrize("size", [16, 40])
def test_a_box_finds_a_plain_object_to_its_edges(size: int) -> None:
    image, mask = uneven(240, 320, size), np.zeros((240, 320), np.uint8)
    cv2.ellipse(mask, (175, 92), (size // 2, size // 3), 0, 0, 360, 1, -1)
    image[mask > 0] = (30, 70, 220)
    box = (174.5 - size // 2, 91.5 - size // 3, 176.5 + size // 2, 93.5 + size // 3)  # a pixel wider

    answer = segmenter.segment(segmenter.embed(image), [Prompt(box=box)])[0]

    assert iou(answer.mask, mask > 0) > 0.9


def test_a_click_on_texture_has_no_distinct_region() -> None:
    rng = np.random.default_rng(5)
    texture = cv2.GaussianBlur(rng.normal(0, 1, (120, 160, 3)), (0, 0), 3) * 400 + 128
    graph = segmenter.embed(np.clip(texture, 0, 255).astype(np.uint8)).graph

    found = [distinct_region(graph, graph.reach([region])) for region in range(0, graph.count, 40)]

    assert all(region is None for region in found)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (9, 7)])
def test_a_flat_image_has_no_distinct_region(size: tuple[int, int]) -> None:
    graph = segmenter.embed(np.full((*size, 3), 90, np.uint8)).graph

    assert distinct_region(graph, graph.reach([0])) is None
