"""What is done to a mask (H, W) after the model: holes filled, specks dropped, the part under the clicks kept.

Everything is off unless asked for: then a mask is what the model says.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sam_model.types import Mask, Point


@dataclass(frozen=True)
class MaskCleaning:
    """The settings of `clean_mask`; zero and False leave the mask alone."""

    fill_holes_below: int = 0  # px, area from which a hole stays
    drop_specks_below: int = 0  # px, area from which a part stays
    keep_clicked_part: bool = False  # of several parts only those with a positive click in them

    def __post_init__(self) -> None:
        for name in ("fill_holes_below", "drop_specks_below"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} is no area; needed: 0 (off) or more pixels")

    def __str__(self) -> str:
        parts = [f"holes{self.fill_holes_below}"] if self.fill_holes_below else []
        parts += [f"specks{self.drop_specks_below}"] if self.drop_specks_below else []
        parts += ["clicked"] if self.keep_clicked_part else []
        return "-".join(parts)


def clean_mask(mask: Mask, cleaning: MaskCleaning, clicks: Sequence[Point] = ()) -> Mask:
    """The mask after the cleaning that is asked for; the mask given is not changed."""
    if cleaning.keep_clicked_part:
        mask = keep_clicked_parts(mask, clicks)
    if cleaning.drop_specks_below:
        mask = drop_specks(mask, cleaning.drop_specks_below)
    if cleaning.fill_holes_below:
        mask = fill_holes(mask, cleaning.fill_holes_below)
    return mask


def keep_clicked_parts(mask: Mask, clicks: Sequence[Point]) -> Mask:
    """Of the mask's parts those with a positive click in them; all, where no click hits any."""
    height, width = mask.shape
    _, labels, _ = _parts(mask)
    hit = set()
    for click in clicks:
        if click.is_positive:
            row, column = min(int(click.y), height - 1), min(int(click.x), width - 1)  # the far edge counts as inside
            hit.add(int(labels[row, column]))
    hit.discard(0)
    return np.isin(labels, list(hit)) if hit else mask


def drop_specks(mask: Mask, area: int) -> Mask:
    """The mask without parts of less than `area` pixels; of parts that are all smaller the largest stays."""
    count, labels, areas = _parts(mask)
    keep = areas >= area
    keep[0] = False  # the background
    if count > 1 and not keep.any():
        keep[1 + int(areas[1:].argmax())] = True
    dropped: Mask = keep[labels]
    return dropped


def fill_holes(mask: Mask, area: int) -> Mask:
    """The mask with its holes of less than `area` pixels filled; background that meets the edge is no hole."""
    _, labels, areas = _parts(~mask)
    fill = areas < area
    fill[0] = False  # the mask itself
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        fill[edge] = False
    filled: Mask = mask | fill[labels]
    return filled


def _parts(mask: Mask) -> tuple[int, NDArray[np.int32], NDArray[np.int32]]:
    """Number of labels, map of labels (H, W) with 0 beside the mask, pixels per label; corners connect."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return count, labels.astype(np.int32, copy=False), stats[:, cv2.CC_STAT_AREA].astype(np.int32, copy=False)
