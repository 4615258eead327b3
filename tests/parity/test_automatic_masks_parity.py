"""Segment everything finds the reference generator's masks, in its order: segment-anything 1.0 on the same weights.

Seeded weights give noise that covers the image, of which suppression leaves next to nothing. So both decoders get a
blob added to each mask, at a place and of a size that depend on the prompt: now every filter drops some and keeps some.
Predicted IoUs differ by float32's rounding; two masks whose scores are nearer than that may change places.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from sam_model.masks.boxes import non_maximum_suppression
from sam_model.masks.cleaning import fill_background_regions, remove_small_regions
from sam_model.masks.coco_rle import run_lengths_from_mask
from sam_model.masks.stability import upscaled_mask_with_stability
from sam_model.masks.upscaling import Axis
from sam_model.sam.automatic_mask_settings import automatic_mask_settings
from sam_model.sam.automatic_masks import AutomaticMask, segment_everything
from sam_model.sam.crops import crops_of, point_grids
from sam_model.sam.segmenter import SamSegmenter
from sam_model.types import Image
from sam_testing.prompt_blobs import blobs
from sam_testing.reference_pairs import Pair, image_named

pytestmark = pytest.mark.parity

TIE = 1e-4  # of predicted IoUs

SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {"points_per_side": 12},
    "batches": {"points_per_side": 7, "points_per_batch": 5},
    "strict": {"points_per_side": 12, "pred_iou_thresh": 0.3, "stability_score_thresh": 0.8, "box_nms_thresh": 0.3},
    "no filters": {"points_per_side": 5, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "box_nms_thresh": 1.0},
    "crops": {"points_per_side": 8, "crop_n_layers": 2, "crop_n_points_downscale_factor": 2},
    "overlapping crops": {"points_per_side": 6, "crop_n_layers": 1, "crop_overlap_ratio": 0.6, "crop_nms_thresh": 0.5},
    "small regions": {"points_per_side": 10, "min_mask_region_area": 300},
    "small regions in crops": {"points_per_side": 6, "crop_n_layers": 1, "min_mask_region_area": 150},
    "own grid": {"points_per_side": None, "point_grids": [np.random.default_rng(1).random((40, 2))]},
}
LOOSE = {"pred_iou_thresh": 0.1, "stability_score_thresh": 0.75, "stability_score_offset": 0.3, "points_per_batch": 16}


@pytest.mark.parametrize("image_name", ["landscape", "portrait"])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_the_masks_are_the_reference_s(
    tiny: tuple[Any, SamSegmenter], image_name: str, settings: dict[str, Any]
) -> None:
    reference, segmenter = tiny
    image = image_named(image_name)

    theirs, ours = generate(reference, segmenter, image, LOOSE | settings)

    assert_same(theirs, ours)


def test_the_filters_of_these_tests_keep_some_and_drop_some(tiny: tuple[Any, SamSegmenter]) -> None:
    with blobs(tiny[1].model.mask_decoder):
        counts = {
            name: len(
                segment_everything(tiny[1], image_named("landscape"), automatic_mask_settings(**LOOSE | settings))
            )
            for name, settings in SETTINGS.items()
        }

    assert counts["no filters"] > 60
    assert all(count > 10 for count in counts.values()), counts
    assert counts["strict"] < counts["plain"] < 12 * 12 * 3


def test_mobile_sam_finds_the_reference_s_masks(pairs: Callable[[str], Pair]) -> None:
    pair = pairs("mobile_sam")
    settings = LOOSE | {"points_per_side": 4}

    theirs, ours = generate(pair.reference, pair.segmenter, image_named("landscape"), settings)

    assert_same(theirs, ours)
    assert len(ours) >= 5


@pytest.mark.parametrize("count", [1, 50, 1500])
def test_suppression_keeps_what_torchvision_keeps(count: int) -> None:
    from torchvision.ops import batched_nms

    random = np.random.default_rng(count)
    corner, sides = random.integers(0, 60, (count, 2)), random.integers(0, 40, (count, 2))
    boxes = np.concatenate([corner, corner + sides], axis=1).astype(np.float32)
    scores = random.integers(0, 20, count).astype(np.float32) / 20  # many ties

    for threshold in (0.0, 0.3, 0.5, 0.7, 0.9):
        theirs = batched_nms(torch.from_numpy(boxes), torch.from_numpy(scores), torch.zeros(count), threshold)
        ours = non_maximum_suppression(boxes, scores, threshold)
        assert sorted(ours) == sorted(theirs.tolist())
        assert scores[ours].tolist() == scores[theirs.numpy()].tolist()
        if count <= 1000:  # above, torchvision sorts without keeping the order of equal scores
            assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize("size", [(480, 640), (601, 333), (20, 3000)])
def test_crops_and_points_are_the_reference_s(size: tuple[int, int]) -> None:
    from segment_anything.utils.amg import build_all_layer_point_grids, generate_crop_boxes

    for ratio in (0.0, 512 / 1500, 0.7):
        boxes, layers = generate_crop_boxes(size, 3, ratio)
        crops = list(crops_of(size, 3, ratio))
        # of a low image the reference makes crops without pixels, too, and fails on them
        with_pixels = [
            (box, layer) for box, layer in zip(boxes, layers, strict=True) if box[0] < box[2] and box[1] < box[3]
        ]
        assert [(list(crop.box), crop.layer) for crop in crops] == with_pixels
    for theirs, ours in zip(build_all_layer_point_grids(13, 2, 2), point_grids(13, 2, 2), strict=True):
        assert np.array_equal(theirs, ours)


def test_what_is_made_of_a_mask_is_the_reference_s() -> None:
    from segment_anything.utils import amg

    random = np.random.default_rng(5)
    for density in (0.1, 0.4, 0.6, 0.9):
        logits = random.normal(0, 1, (37, 53)).astype(np.float32) + np.float32(density - 0.5)
        mask = logits > 0
        same_size = [Axis(side, side, 0, side, side) for side in logits.shape]
        _, _, stability = upscaled_mask_with_stability(logits, same_size[0], same_size[1], 0.0, 0.3)
        assert stability == float(amg.calculate_stability_score(torch.from_numpy(logits), 0.0, 0.3))
        (rle,) = amg.mask_to_rle_pytorch(torch.from_numpy(mask)[None])
        assert run_lengths_from_mask(mask).to_coco() == rle
        for area in (2, 6, 5000):
            for ours, mode in ((fill_background_regions, "holes"), (remove_small_regions, "islands")):
                theirs, is_changed = amg.remove_small_regions(mask, area, mode)
                cleaned = ours(mask, area)
                assert np.array_equal(cleaned, theirs)
                assert (cleaned is not mask) == is_changed


def generate(
    reference: Any, segmenter: SamSegmenter, image: Image, settings: dict[str, Any]
) -> tuple[list[dict[str, Any]], list[AutomaticMask]]:
    """What both find."""
    if type(reference).__module__.startswith("mobile_sam"):
        from mobile_sam import SamAutomaticMaskGenerator
    else:
        from segment_anything import SamAutomaticMaskGenerator
    with blobs(reference.mask_decoder, segmenter.model.mask_decoder):
        theirs = SamAutomaticMaskGenerator(reference, **settings).generate(image)
        return theirs, segment_everything(segmenter, image, automatic_mask_settings(**settings))


def assert_same(theirs: list[dict[str, Any]], ours: list[AutomaticMask]) -> None:
    """The same masks in the same order up to ties, found by the same clicks in the same crops."""
    assert len(ours) == len(theirs) > 0
    for place, (their, our) in enumerate(zip(theirs, ours, strict=True)):
        assert abs(our.predicted_iou - their["predicted_iou"]) <= TIE, place
        rivals = [rival for rival in theirs if abs(rival["predicted_iou"] - our.predicted_iou) <= TIE]
        their = min(rivals, key=lambda rival: distance(rival, our))
        assert distance(their, our) <= 1e-3, place
        x, y, width, height = their["bbox"]  # from the first pixel to the last
        assert our.box == (x, y, x + width + 1, y + height + 1), place
        # OpenCV's interpolation and PyTorch's differ in the last bits: one pixel of a mask may change
        assert abs(our.run_lengths.area - their["area"]) <= 1e-3 * their["area"] + 1
        assert abs(our.stability_score - their["stability_score"]) <= 1e-3 + 1 / their["area"]
        assert np.allclose(our.point, their["point_coords"][0])
        x, y, width, height = their["crop_box"]
        assert our.crop_box == (x, y, x + width, y + height)


def distance(their: dict[str, Any], our: AutomaticMask) -> float:
    """One less the IoU of their mask and ours, and one more where another click made it."""
    mask = our.mask
    union = (mask | their["segmentation"]).sum()
    is_other = not np.allclose(our.point, their["point_coords"][0])
    return float(1 - (mask & their["segmentation"]).sum() / max(union, 1)) + is_other
