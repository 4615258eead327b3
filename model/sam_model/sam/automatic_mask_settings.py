"""Settings of automatic masks, under the reference's names and those of Ultralytics' documentation.

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
    "conf_thres": "pred_iou_thresh",
    "crop_downscale_factor": "crop_n_points_downscale_factor",
}
COUNTS = {  # minimum of each
    "points_per_side": 1,
    "points_per_batch": 1,
    "crop_n_points_downscale_factor": 1,
    "crop_n_layers": 0,
    "min_mask_region_area": 0,
}


@dataclass(frozen=True)
class AutomaticMaskSettings:
    """The settings of `segment_everything`. All defaults but `points_per_batch` are the reference's."""

    points_per_side: int | None = 32  # points along one side of the image
    points_per_batch: int = 16  # points per call of the decoder, 30 MB each; the reference's 64 are not faster on a CPU
    pred_iou_thresh: float = 0.88  # 0..1; masks need a higher predicted IoU, 0 keeps all
    stability_score_thresh: float = 0.95  # 0..1; minimum stability score, 0 keeps all
    stability_score_offset: float = 1.0  # distance of the two thresholds of that score, in logits
    box_nms_thresh: float = 0.7  # of masks whose boxes have a larger IoU, the highest-scoring one is kept
    crop_n_layers: int = 0  # layers of crops beside the whole image; each has twice as many per side
    crop_nms_thresh: float = 0.7  # the same between masks of different crops, which prefers small crops
    crop_overlap_ratio: float = 512 / 1500  # overlap of the first layer's crops, as a share of the image's short side
    crop_n_points_downscale_factor: int = 1  # the points per side are divided by this from layer to layer
    point_grids: tuple[PointGrid, ...] | None = (
        None  # instead of points_per_side: the points (N, 2) of each layer in 0..1
    )
    min_mask_region_area: int = 0  # pixels; smaller regions and holes of a mask are removed

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: a value has the wrong type or is out of range, or there are too few point grids.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "point_grids" and not (value is None and field.name == "points_per_side"):
                _check_number(field.name, value)
        if not 0 <= self.crop_overlap_ratio < 1:
            raise ValueError(f"crop_overlap_ratio={self.crop_overlap_ratio!r}: needed: 0 or more and less than 1")
        if self.point_grids is None and self.points_per_side is None:
            raise ValueError("points_per_side and point_grids are both None; needed: one of them")
        if self.point_grids is not None:
            _check_grids(self.point_grids, self.crop_n_layers)

    @property
    def grids(self) -> tuple[PointGrid, ...]:
        """The points of each layer, (N, 2) in 0..1."""
        if self.point_grids is not None:
            return self.point_grids
        assert self.points_per_side is not None
        return point_grids(self.points_per_side, self.crop_n_layers, self.crop_n_points_downscale_factor)


def automatic_mask_settings(**parameters: Any) -> AutomaticMaskSettings:
    """Return settings from the reference's names or those of Ultralytics' documentation (`ALIASES`).

    Raises:
        ValueError: a name is unknown or given twice, or a value is invalid.
    """
    known = {field.name for field in fields(AutomaticMaskSettings)}
    named: dict[str, Any] = {}
    for given, value in parameters.items():
        name = ALIASES.get(given, given)
        if name not in known:
            raise ValueError(f"unknown parameter {given!r}; known: {', '.join(sorted(known | set(ALIASES)))}")
        if name in named:
            raise ValueError(f"{name!r} is given twice, the second time as {given!r}")
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
            raise ValueError(f"point_grids: {grid.min()}..{grid.max()}; needed: 0..1, shares of the image's sides")
