from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sam_backend.exemplars.example_set import ExampleSet
from sam_backend.exemplars.image_regions import ImageRegions
from sam_backend.exemplars.similar_objects import SimilarObjects
from sam_model.automatic_segmentation import SegmentedObject
from sam_model.masks.coco_rle import run_lengths_from_mask
from sam_testing.disc_segmenter import DiscSegmenter


def test_an_indexed_image_without_matches_is_not_embedded() -> None:
    example, background = np.eye(4, dtype=np.float32)[:2]
    mask = np.ones((6, 8), np.bool_)
    region = SegmentedObject(run_lengths_from_mask(mask), (0, 0, 8, 6), 1.0)
    indexed = ImageRegions([region], background[None])
    source: Any = SimpleNamespace(regions_of=lambda *_: indexed, describer=None)
    examples = ExampleSet("key", "owlv2", {"Cat": example[None]}, {}, background[None], (1,))

    def embed() -> Any:
        pytest.fail("the image was embedded")

    similar = SimilarObjects(examples, source, DiscSegmenter())

    assert list(similar.find("0" * 64, np.zeros((6, 8, 3), np.uint8), embed, {"Cat": 0.5}, 10)) == []
