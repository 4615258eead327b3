"""Automatic masks: a grid of points over the image and its crops, and filters that keep the good masks.

The masks equal those of segment-anything 1.0, automatic_mask_generator.py (Apache-2.0).

Memory: only the 256 x 256 logits of one batch of points exist at a time. Masks with a sufficient predicted IoU are
upscaled one by one (4 bytes per pixel, a few times over) and kept as run lengths. The stability score is computed at
full size, as in the reference.

Sources: SAM, arXiv:2304.02643, appendix B (grid, crops, filters), section 7.2 and appendix D.2 (edges), section 7.3 and
appendix D.3 (object proposals).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from sam_model.masks.boxes import Boxes, box_from_mask, non_maximum_suppression
from sam_model.masks.cleaning import fill_background_regions, remove_small_regions
from sam_model.masks.coco_rle import RunLengths, run_lengths_from_mask
from sam_model.masks.edges import soft_border, thin_edges
from sam_model.masks.polygons import Polygon, polygons_from_mask
from sam_model.masks.stability import upscaled_mask_with_stability
from sam_model.sam.automatic_mask_settings import AutomaticMaskSettings
from sam_model.sam.crops import Crop, PointGrid, crops_of, is_cut_off, point_grid
from sam_model.sam.segmenter import SamEmbedding, SamSegmenter
from sam_model.types import Box, Image, Mask


@dataclass(frozen=True, eq=False)
class AutomaticMask:
    """A mask and its origin: the point prompt `point` (x, y) within the crop `crop_box`."""

    run_lengths: RunLengths
    box: Box
    predicted_iou: float
    stability_score: float
    point: tuple[float, float]
    crop_box: tuple[int, int, int, int]

    @property
    def mask(self) -> Mask:
        """The mask (H, W) of the whole image, computed at each access."""
        return self.run_lengths.mask

    @property
    def polygons(self) -> list[Polygon]:
        """The exact polygons of the mask."""
        return polygons_from_mask(self.mask)


@dataclass(frozen=True, eq=False)
class Proposal:
    """A mask that may be an object, with its box and a score around 0..1."""

    run_lengths: RunLengths
    box: Box
    score: float


@torch.inference_mode()
def segment_everything(
    segmenter: SamSegmenter,
    image: Image,
    settings: AutomaticMaskSettings | None = None,
    show_progress: bool = False,
) -> list[AutomaticMask]:
    """Return all masks of an RGB uint8 image (H, W, 3).

    They are in the reference's order: by predicted IoU, masks of smaller crops first.

    Args:
        segmenter: the model.
        image: RGB uint8 (H, W, 3).
        settings: None for the defaults of the model's authors.
        show_progress: show a progress bar if standard error is a terminal.
    """
    settings = settings or AutomaticMaskSettings(pred_iou_thresh=segmenter.model.everything_iou)
    crops = list(crops_of((image.shape[0], image.shape[1]), settings.crop_n_layers, settings.crop_overlap_ratio))
    n_points = sum(len(settings.grids[crop.layer]) for crop in crops)
    found: list[AutomaticMask] = []
    with tqdm(total=n_points, desc="segment everything", unit="point", disable=None if show_progress else True) as bar:
        for crop in crops:
            found += _masks_in_crop(segmenter, image, crop, settings, bar)
    if len(crops) > 1:
        found = _without_duplicates(found, [_crop_score(mask.crop_box) for mask in found], settings.crop_nms_thresh)
    if settings.min_mask_region_area > 0:
        found = _without_small_regions(found, settings)
    return found


def _masks_in_crop(
    segmenter: SamSegmenter, image: Image, crop: Crop, settings: AutomaticMaskSettings, bar: "tqdm[None]"
) -> list[AutomaticMask]:
    embedding = segmenter.embed(np.ascontiguousarray(image[crop.y_min : crop.y_max, crop.x_min : crop.x_max]))
    height, width = crop.size
    points = settings.grids[crop.layer] * np.array([width, height])
    found: list[AutomaticMask] = []
    for start in range(0, len(points), settings.points_per_batch):
        batch = points[start : start + settings.points_per_batch]
        found += _masks_at_points(segmenter, embedding, batch, crop, (image.shape[0], image.shape[1]), settings)
        bar.update(len(batch))
    return _without_duplicates(found, [mask.predicted_iou for mask in found], settings.box_nms_thresh)


def _masks_at_points(
    segmenter: SamSegmenter,
    embedding: SamEmbedding,
    points: PointGrid,
    crop: Crop,
    image_size: tuple[int, int],
    settings: AutomaticMaskSettings,
) -> Iterator[AutomaticMask]:
    """Yield the masks of a batch of points (N, 2), in pixels of the crop, that pass all filters."""
    rows, columns = segmenter.mask_axes(embedding)
    threshold, least = segmenter.model.mask_threshold, settings.stability_score_thresh
    for point, iou, logits in _good_masks(segmenter, embedding, points, settings.pred_iou_thresh):
        mask, region, stability = upscaled_mask_with_stability(
            logits.cpu().numpy(), rows, columns, threshold, settings.stability_score_offset
        )
        if least > 0 and not stability >= np.float32(least):  # NaN, of an empty mask, fails, too
            continue
        inner = box_from_mask(mask)
        if inner is None:
            continue
        x_min, y_min, x_max, y_max = (int(edge) for edge in inner)
        left, top = region[1].start + crop.x_min, region[0].start + crop.y_min
        box = (x_min + left, y_min + top, x_max + left, y_max + top)
        if is_cut_off(_first_and_last_pixels([box]), crop, image_size)[0]:
            continue
        yield AutomaticMask(
            run_lengths=run_lengths_from_mask(mask[y_min:y_max, x_min:x_max], (box[1], box[0]), image_size),
            box=box,
            predicted_iou=iou,
            stability_score=stability,
            point=(float(point[0] + crop.x_min), float(point[1] + crop.y_min)),
            crop_box=crop.box,
        )


def _good_masks(
    segmenter: SamSegmenter, embedding: SamEmbedding, points: PointGrid, iou_threshold: float
) -> Iterator[tuple[NDArray[np.float64], float, Tensor]]:
    """Yield point (2,), predicted IoU and low-resolution logits (256, 256) of each mask above the IoU threshold."""
    clicks = torch.from_numpy(points)[:, None]  # (P, 1, 2)
    labels = torch.ones(len(points), 1, dtype=torch.int64)
    answer = segmenter.low_res_masks(embedding, clicks, labels, multimask=True, min_iou=iou_threshold)
    is_good = answer.iou_predictions > iou_threshold if iou_threshold > 0 else torch.ones_like(answer.iou_predictions)
    for prompt, candidate in is_good.nonzero().tolist():
        iou = float(answer.iou_predictions[prompt, candidate])
        yield points[prompt], iou, answer.logits[prompt, candidate]


def _without_duplicates(found: list[AutomaticMask], scores: list[float], iou_threshold: float) -> list[AutomaticMask]:
    boxes = _first_and_last_pixels([mask.box for mask in found])
    kept = non_maximum_suppression(boxes, np.array(scores, dtype=np.float32), iou_threshold)
    return [found[index] for index in kept]


def _first_and_last_pixels(boxes: list[Box]) -> Boxes:
    """Return boxes (N, 4) that end at their last pixel, as the reference's do; their IoU is a little smaller."""
    return np.array(boxes, dtype=np.float32).reshape(-1, 4) - np.array([0, 0, 1, 1], dtype=np.float32)


def _crop_score(crop_box: tuple[int, int, int, int]) -> float:
    """Return a score that prefers small crops, since they show more detail."""
    x_min, y_min, x_max, y_max = crop_box
    return float(np.float32(1) / np.float32((x_max - x_min) * (y_max - y_min)))


def _without_small_regions(found: list[AutomaticMask], settings: AutomaticMaskSettings) -> list[AutomaticMask]:
    """Remove small regions and holes, then duplicates; a mask that needed no change is preferred to one that did."""
    results, scores = [], []
    for one in found:
        mask = one.mask
        cleaned = fill_background_regions(mask, settings.min_mask_region_area)
        cleaned = remove_small_regions(cleaned, settings.min_mask_region_area)
        is_changed = cleaned is not mask
        scores.append(0.0 if is_changed else 1.0)
        if is_changed:
            box = box_from_mask(cleaned)
            assert box is not None  # the largest region stays
            one = replace(one, run_lengths=run_lengths_from_mask(cleaned), box=box)
        results.append(one)
    return _without_duplicates(results, scores, max(settings.box_nms_thresh, settings.crop_nms_thresh))


def proposals(
    segmenter: SamSegmenter,
    image: Image,
    settings: AutomaticMaskSettings | None = None,
    limit: int = 1000,
    show_progress: bool = False,
) -> list[Proposal]:
    """Return at most `limit` masks that may be an object, highest-scoring first, of an RGB uint8 image (H, W, 3).

    These are the masks of `segment_everything`, ranked by the mean of predicted IoU and stability score. The defaults
    have a denser grid (64 x 64) and allow more overlap (0.9), for a better recall.
    """
    settings = settings or AutomaticMaskSettings(points_per_side=64, box_nms_thresh=0.9, crop_nms_thresh=0.9)
    found = segment_everything(segmenter, image, settings, show_progress)
    ranked = [Proposal(mask.run_lengths, mask.box, (mask.predicted_iou + mask.stability_score) / 2) for mask in found]
    return sorted(ranked, key=lambda proposal: -proposal.score)[:limit]


@torch.inference_mode()
def edge_map(
    segmenter: SamSegmenter, image: Image, points_per_side: int = 16, box_nms_thresh: float = 0.7
) -> NDArray[np.float32]:
    """Return the edge strength of each pixel (H, W) of an RGB uint8 image, 0..1, with thinned edges.

    It is the maximum of the soft borders of all masks of a grid of points, good and bad, without duplicates.
    """
    embedding = segmenter.embed(image)
    height, width = image.shape[:2]
    rows, columns = (
        -(-side * segmenter.model.size.low_res // segmenter.model.image_size) for side in embedding.input_size
    )
    points = point_grid(points_per_side) * np.array([width, height])
    boxes, ious, low_res = [], [], []
    for start in range(0, len(points), 64):
        for _, iou, logits in _good_masks(segmenter, embedding, points[start : start + 64], iou_threshold=0.0):
            inside = logits[:rows, :columns]  # the rest is padding
            box = box_from_mask((inside > segmenter.model.mask_threshold).cpu().numpy())
            if box is not None:
                boxes.append(box)
                ious.append(iou)
                low_res.append(logits)
    kept = non_maximum_suppression(
        np.array(boxes, dtype=np.float32).reshape(-1, 4), np.array(ious, dtype=np.float32), box_nms_thresh
    )
    edges = np.zeros((height, width), dtype=np.float32)
    for index in kept:
        full_size = segmenter.full_size_logits(low_res[index][None], embedding)[0].float().cpu().numpy()
        np.maximum(edges, soft_border(full_size, segmenter.model.mask_threshold), out=edges)
    strongest = edges.max()
    return thin_edges(edges / strongest) if strongest > 0 else edges
