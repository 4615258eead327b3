import numpy as np
import pytest

from sam_model import automatic_edges
from sam_model.automatic_edges import edges_automatically
from sam_model.classical.segmenter import ClassicalSegmenter
from sam_model.sam.automatic_masks import edge_map
from sam_model.yolo.checkpoint import YoloModel
from sam_model.yolo.fast_sam import FastSamSegmenter
from sam_testing.colour_sam import ColourSam
from sam_testing.yolo_files import seeded_yolo


def square() -> np.ndarray:
    """RGB (96, 128, 3): a red square on grey."""
    image = np.full((96, 128, 3), 90, np.uint8)
    image[24:72, 32:80] = (200, 30, 30)
    return image


def test_the_edges_of_the_classical_segmenter_follow_the_outline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(automatic_edges, "POINTS_PER_SIDE", 6)

    edges = edges_automatically(ClassicalSegmenter(), square())

    assert edges.shape == (96, 128)
    assert edges.dtype == np.float32
    assert 0.9 < edges.max() <= 1
    assert (edges[30:66, 30:34].max(axis=1) > 0.5).all()  # the left side
    assert (edges[70:74, 38:74].max(axis=0) > 0.5).all()  # the lower side
    assert edges[34:62, 42:70].max() < 0.45  # inside: some clicks near the outline get a part of the square
    assert np.count_nonzero(edges[30:66, 28:36] > 0.3) <= 2 * 36  # thin


def test_sam_uses_its_own_method() -> None:
    edges = edges_automatically(ColourSam(), square())

    np.testing.assert_allclose(edges, edge_map(ColourSam(), square()), atol=1e-5)


def test_a_fast_sam_has_edges_where_its_masks_end() -> None:
    segmenter = FastSamSegmenter(YoloModel(seeded_yolo(classes=1, has_masks=True), ("object",)), image_size=128)
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)

    masks = segmenter.embed(image).masks
    edges = edges_automatically(segmenter, image)

    assert masks
    assert 0 < edges.max() <= 1


def test_an_image_without_masks_has_no_edges() -> None:
    segmenter = FastSamSegmenter(
        YoloModel(seeded_yolo(classes=1, has_masks=True), ("object",)), image_size=128, score_threshold=1.0
    )

    assert not edges_automatically(segmenter, square()).any()
