"""Small weights under the official file names, so that scripts that load `sam_b.pt` and others run in seconds."""

import shutil
from pathlib import Path

import pytest

from sam_model.sam import automatic_mask_settings, automatic_masks
from sam_model.sam.crops import point_grid, point_grids
from sam_model.sam_checkpoints import SIZES
from sam_testing.seeded_checkpoints import TINY_MOBILE_SAM, write_seeded_checkpoint
from sam_testing.yolo_files import SIZE_N, write_yolo_file


def write_tiny_weights(folder: Path) -> None:
    """Write seeded weights of small networks; `know_tiny_sizes` makes the package recognise them."""
    sam = write_seeded_checkpoint(folder / "mobile_sam.pt", TINY_MOBILE_SAM)
    detector = write_yolo_file(folder / "yolov8n.pt", SIZE_N, finds_few=True)
    shutil.copy(sam, folder / "sam_b.pt")
    shutil.copy(detector, folder / "yolov8x.pt")
    write_yolo_file(folder / "yolov8n-seg.pt", SIZE_N, has_masks=True, finds_few=True)
    write_yolo_file(folder / "FastSAM-s.pt", SIZE_N, ("object",), has_masks=True, finds_few=True)


def know_tiny_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `load_sam` recognise the small SAM."""
    monkeypatch.setitem(SIZES, TINY_MOBILE_SAM.name, TINY_MOBILE_SAM)


def use_small_grids(monkeypatch: pytest.MonkeyPatch, points_per_side: int = 4) -> None:
    """Segment everything with few points, whatever a script asks for: thousands take minutes."""

    def few(wanted: int) -> int:
        return min(wanted, points_per_side)

    monkeypatch.setattr(
        automatic_mask_settings, "point_grids", lambda side, layers, scale: point_grids(few(side), layers, scale)
    )
    monkeypatch.setattr(automatic_masks, "point_grid", lambda side: point_grid(few(side)))
