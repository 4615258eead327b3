"""Removal of small regions and holes from a mask.

There are two rules for what a hole is:

- `fill_holes` fills enclosed background only. Background that touches the image border stays, however small it is.
  The interactive segmenters and the classical segmenter use this rule.
- `fill_background_regions` fills every small background region, also at the image border. This is the rule of
  segment-anything 1.0, utils/amg.py `remove_small_regions` (Apache-2.0); automatic mask generation uses it, so that
  its masks equal the reference's.

A pixel's diagonal neighbours count as connected (8-connectivity) unless a function says otherwise, as in the reference.
The functions do not change the mask they are given. They return that same array if there is nothing to do.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_model.types import Mask, Point

Pixel = tuple[int, int]  # row, column


@dataclass(frozen=True)
class MaskCleaning:
    """Settings of `clean_mask`. By default nothing is changed."""

    min_hole_area: int = 0  # pixels; smaller holes are filled, 0 fills none
    min_region_area: int = 0  # pixels; smaller regions are removed, 0 removes none
    keep_clicked_region: bool = False  # remove the regions without a positive click

    def __post_init__(self) -> None:
        for name in ("min_hole_area", "min_region_area"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} is negative; needed: 0 (off) or an area in pixels")

    def __str__(self) -> str:
        parts = [f"holes{self.min_hole_area}"] if self.min_hole_area else []
        parts += [f"regions{self.min_region_area}"] if self.min_region_area else []
        parts += ["clicked"] if self.keep_clicked_region else []
        return "-".join(parts)


def clean_mask(mask: Mask, cleaning: MaskCleaning, clicks: Sequence[Point] = ()) -> Mask:
    """Apply the cleaning steps that are switched on.

    Args:
        mask: (H, W).
        cleaning: the steps and their thresholds.
        clicks: the prompt's points, for `keep_clicked_region`.
    """
    if cleaning.keep_clicked_region:
        mask = keep_clicked_regions(mask, clicks)
    if cleaning.min_region_area:
        mask = remove_small_regions(mask, cleaning.min_region_area)
    if cleaning.min_hole_area:
        mask = fill_holes(mask, cleaning.min_hole_area)
    return mask


def keep_clicked_regions(mask: Mask, clicks: Sequence[Point]) -> Mask:
    """Keep the regions of a mask (H, W) that contain a positive click; keep all if no click is on the mask."""
    height, width = mask.shape
    pixels = [  # a click on the far edge of the image is on its last pixel
        (min(int(click.y), height - 1), min(int(click.x), width - 1)) for click in clicks if click.is_positive
    ]
    on_mask = [pixel for pixel in pixels if mask[pixel]]
    return keep_regions(mask, on_mask) if on_mask else mask


def keep_regions(mask: Mask, pixels: Sequence[Pixel], min_share: float | None = None) -> Mask:
    """Keep the regions of a mask (H, W) that contain one of `pixels`.

    Args:
        mask: (H, W).
        pixels: (row, column) pairs.
        min_share: where given, regions with more than this share of the largest region's area are kept, too.
    """
    labels, areas = _connected_regions(mask)
    if len(areas) <= 2:  # at most one region
        return mask
    keep = np.zeros(len(areas), dtype=bool)
    keep[[labels[pixel] for pixel in pixels]] = True
    if min_share is not None:
        keep |= areas > min_share * areas[1:].max()
    keep[0] = False
    kept: Mask = keep[labels]
    return kept


def remove_small_regions(mask: Mask, min_area: float) -> Mask:
    """Remove the regions of a mask (H, W) below `min_area` pixels; if all are smaller, keep the largest."""
    labels, areas = _connected_regions(mask)
    keep = areas >= min_area
    if keep[1:].all():
        return mask
    keep[0] = False
    if not keep.any():
        keep[1 + int(areas[1:].argmax())] = True
    kept: Mask = keep[labels]
    return kept


def fill_holes(mask: Mask, min_area: float, keep: Sequence[Pixel] = (), connectivity: int = 8) -> Mask:
    """Fill the holes of a mask (H, W) below `min_area` pixels.

    A hole is a background region that does not touch the image border.

    Args:
        mask: (H, W).
        min_area: area in pixels from which a hole stays.
        keep: (row, column) pairs; a hole with one of them stays.
        connectivity: 8, or 4 if diagonal neighbours are not connected.
    """
    labels, areas = _connected_regions(~mask, connectivity)
    fill = areas < min_area
    for border in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        fill[border] = False
    fill[[labels[pixel] for pixel in keep]] = False
    return _filled(mask, labels, fill)


def fill_background_regions(mask: Mask, min_area: float) -> Mask:
    """Fill the background regions of a mask (H, W) below `min_area` pixels, also those at the image border."""
    labels, areas = _connected_regions(~mask)
    return _filled(mask, labels, areas < min_area)


def _filled(mask: Mask, labels: NDArray[np.int32], fill: NDArray[np.bool_]) -> Mask:
    fill[0] = False  # label 0 is the mask itself
    if not fill.any():
        return mask
    filled: Mask = mask | fill[labels]
    return filled


def _connected_regions(mask: Mask, connectivity: int = 8) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return each pixel's region (H, W), 0 outside the mask, and the areas (regions + 1,) in pixels by label."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=connectivity)
    return labels.astype(np.int32, copy=False), stats[:, cv2.CC_STAT_AREA].astype(np.int32, copy=False)
