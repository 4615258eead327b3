from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from sam_model.exemplars.classical_descriptor import ClassicalDescriber
from sam_model.exemplars.descriptors import Describer, SamDescriber
from sam_model.exemplars.owl_descriptor import OwlDescriber
from sam_model.sam.segmenter import SamSegmenter
from sam_model.transformers_models.owl import OwlDetector
from sam_model.types import Image, Mask
from sam_testing.drawn_classes import drawn_classes
from sam_testing.seeded_checkpoints import TINY_MOBILE_SAM, TINY_SAM2, seeded_sam
from sam_testing.tiny_transformers import write_tiny_owl

Engine = tuple[Describer, Callable[[Image], object]]


@pytest.fixture(params=["classical", "sam", "sam2", "owlv2"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    if request.param == "owlv2":
        return OwlDescriber(OwlDetector(write_tiny_owl(tmp_path / "tiny_owl"))), lambda image: None
    if request.param.startswith("sam"):
        size = TINY_SAM2 if request.param == "sam2" else TINY_MOBILE_SAM
        segmenter = SamSegmenter(seeded_sam(size), size.name)
        return SamDescriber(segmenter.fingerprint), segmenter.embed
    return ClassicalDescriber(), lambda image: None


def test_a_region_of_the_same_image_comes_first_with_cosine_1(engine: Engine) -> None:
    describer, embed = engine
    image, objects = drawn_classes(1)
    random = np.random.default_rng(0)
    boxes = [(x, y, x + 60, y + 50) for x, y in random.integers(0, 300, (6, 2))]
    masks = [one.mask for one in objects] + [box_mask(image, *box) for box in boxes]

    rows = describer.describe(image, embed(image), masks)
    again = describer.describe(image, embed(image), masks[2:3])

    cosines = rows @ again[0]
    assert rows.dtype == np.float32
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(len(masks)), abs=1e-5)
    assert cosines[2] == pytest.approx(1, abs=1e-5)
    assert cosines[2] == pytest.approx(cosines.max(), abs=1e-6)


def box_mask(image: Image, x_min: int, y_min: int, x_max: int, y_max: int) -> Mask:
    mask = np.zeros(image.shape[:2], bool)
    mask[y_min:y_max, x_min:x_max] = True
    return mask


def test_sam_describes_a_region_by_the_mean_over_its_part_of_the_image_without_the_padding() -> None:
    segmenter = SamSegmenter(seeded_sam(TINY_MOBILE_SAM), "tiny")
    image = np.random.default_rng(3).integers(0, 256, (64, 128, 3), dtype=np.uint8)  # half of the input is padding
    embedding = segmenter.embed(image)

    (row,) = SamDescriber(segmenter.fingerprint).describe(image, embedding, [np.ones((64, 128), bool)])

    features = embedding.features[0].numpy()
    mean = features[:, : features.shape[1] // 2].mean(axis=(1, 2))
    assert row == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)


def test_rotation_size_and_light_change_the_classical_descriptor_less_than_another_class() -> None:
    image = np.full((200, 200, 3), 150, np.uint8)
    mask = np.zeros((200, 200), np.uint8)
    cv2.fillPoly(mask, [np.array([(60, 60), (140, 70), (100, 140)])], 1)
    image[mask == 1] = (200, 60, 50)
    turn = cv2.getRotationMatrix2D((100, 100), 70, 0.6)
    turned = cv2.warpAffine((image * 0.7).astype(np.uint8), turn, (200, 200), borderValue=(105, 105, 105))
    disc = np.zeros((200, 200), np.uint8)
    cv2.circle(disc, (100, 100), 45, 1, -1)
    other = image.copy()
    other[disc == 1] = (50, 90, 190)
    describer = ClassicalDescriber()

    (here,) = describer.describe(image, None, [mask.view(np.bool_)])
    (moved,) = describer.describe(turned, None, [cv2.warpAffine(mask, turn, (200, 200)).view(np.bool_)])
    (unlike,) = describer.describe(other, None, [disc.view(np.bool_)])

    assert here @ moved > 0.9
    assert here @ unlike < 0.6


def test_one_pixel_of_a_large_image_has_a_descriptor() -> None:
    mask = np.zeros((900, 1600), bool)
    mask[3, 5] = True

    (row,) = ClassicalDescriber().describe(np.full((900, 1600, 3), 90, np.uint8), None, [mask])

    assert np.linalg.norm(row) == pytest.approx(1)
