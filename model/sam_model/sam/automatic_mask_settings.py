"""How densely to look for everything and what to keep, under the reference's names and those of the documentation.

Sources: segment-anything 1.0, automatic_mask_generator.py (Apache-2.0); docs.ultralytics.com, "SAM".
"""

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from sam_model.sam.crops import PointGrid, point_grids

ALIASES = {
    "points_stride": "points_per_side",
    "points_batch_size": "points_per_batch",
    "conf": "pred_iou_thresh",
    "conf_thres": "pred_iou_thresh",
    "crop_downscale_factor": "crop_n_points_downscale_factor",
}
COUNTS = {  # the least of each
    "points_per_side": 1,
    "points_per_batch": 1,
    "crop_n_points_downscale_factor": 1,
    "crop_n_layers": 0,
    "min_mask_region_area": 0,
}


@dataclass(frozen=True)
class AutomaticMaskSettings:
    """The settings of `segment_everything`; all but one default are the reference's."""

    points_per_side: int | None = 32  # clicks along one side of the image
    points_per_batch: int = 16  # clicks answered at once, 30 MB each; the reference's 64 are no faster on a CPU
    pred_iou_thresh: float = 0.88  # a mask's predicted IoU has to be above, 0..1; 0 keeps all
    stability_score_thresh: float = 0.95  # its stability score at least this, 0..1; 0 keeps all
    stability_score_offset: float = 1.0  # logits by which the cut moves for that score
    box_nms_thresh: float = 0.7  # of masks whose boxes overlap by more than this IoU, the best is kept
    crop_n_layers: int = 0  # layers of crops beside the whole image, each of twice as many to a side
    crop_nms_thresh: float = 0.7  # as box_nms_thresh, between masks of different crops; small crops win
    crop_overlap_ratio: float = 512 / 1500  # overlap of the first layer's crops, of the image's short side
    crop_n_points_downscale_factor: int = 1  # a layer's clicks to a side, divided by this for the next one
    point_grids: tuple[PointGrid, ...] | None = None  # instead of points_per_side: a layer's points (N, 2) in 0..1
    min_mask_region_area: int = 0  # pixels; smaller parts and holes of a mask are removed

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ValueError: a number of the wrong kind or out of range, or too few point grids.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "point_grids" and not (value is None and field.name == "points_per_side"):
                _check_number(field.name, value)
        if not 0 <= self.crop_overlap_ratio < 1:
            raise ValueError(f"crop_overlap_ratio={self.crop_overlap_ratio!r}: needed: 0 or more and less than 1")
        if self.point_grids is None and self.points_per_side is None:
            raise ValueError("points_per_side is None and there are no point_grids: nowhere to click")
        if self.point_grids is not None:
            _check_grids(self.point_grids, self.crop_n_layers)

    @property
    def grids(self) -> tuple[PointGrid, ...]:
        """The points to click in each layer, (N, 2) in 0..1."""
        if self.point_grids is not None:
            return self.point_grids
        assert self.points_per_side is not None
        return point_grids(self.points_per_side, self.crop_n_layers, self.crop_n_points_downscale_factor)


def automatic_mask_settings(**parameters: Any) -> AutomaticMaskSettings:
    """Settings from the reference's names or those of the SAM documentation (`ALIASES`).

    Raises:
        ValueError: an unknown name, one given under two names, or a value that makes no sense.
    """
    known = {field.name for field in fields(AutomaticMaskSettings)}
    named: dict[str, Any] = {}
    for given, value in parameters.items():
        name = ALIASES.get(given, given)
        if name not in known:
            raise ValueError(f"parameter {given!r} is unknown; known: {', '.join(sorted(known | set(ALIASES)))}")
        if name in named:
            raise ValueError(f"{given!r} says {name!r} a second time")
        named[name] = value
    if named.get("point_grids") is not None:
        named["point_grids"] = tuple(np.asarray(grid, dtype=np.float64) for grid in named["point_grids"])
    return AutomaticMaskSettings(**named)


def _check_number(name: str, value: object) -> None:
    least = COUNTS.get(name)
    if least is not None and not (isinstance(value, int | np.integer) and value >= least):
        raise ValueError(f"{name}={value!r}: needed: a whole number, {least} or more")
    if not isinstance(value, int | float | np.integer | np.floating) or not math.isfinite(value):
        raise ValueError(f"{name}={value!r}: needed: a number")


def _check_grids(grids: tuple[PointGrid, ...], n_layers: int) -> None:
    if len(grids) <= n_layers:
        raise ValueError(f"point_grids has {len(grids)} grids; needed: one, and one for each of the {n_layers} layers")
    for grid in grids:
        if grid.ndim != 2 or grid.shape[1] != 2 or not len(grid):
            raise ValueError(f"point_grids: a grid has shape {grid.shape}; needed: (N, 2)")
        if not ((grid >= 0) & (grid <= 1)).all():
            raise ValueError(f"point_grids: {grid.min()}..{grid.max()}; needed: 0..1, parts of the image's sides")
