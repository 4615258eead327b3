"""Segmentation models in PyTorch; this package knows nothing of Label Studio."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sam_model.registry import load_detector, load_segmenter

if TYPE_CHECKING:
    from sam_model.scripting.auto_annotate import auto_annotate
    from sam_model.scripting.fast_sam import FastSAM
    from sam_model.scripting.results import Results
    from sam_model.scripting.sam import SAM, SAMPredictor
    from sam_model.scripting.yolo import YOLO

__all__ = [
    "ASSETS",
    "SAM",
    "YOLO",
    "FastSAM",
    "Results",
    "SAMPredictor",
    "auto_annotate",
    "load_detector",
    "load_segmenter",
]


ASSETS = Path(__file__).parent / "assets"  # a folder of sample images
MODULES = {
    "SAM": "sam_model.scripting.sam",
    "SAMPredictor": "sam_model.scripting.sam",
    "YOLO": "sam_model.scripting.yolo",
    "FastSAM": "sam_model.scripting.fast_sam",
    "Results": "sam_model.scripting.results",
    "auto_annotate": "sam_model.scripting.auto_annotate",
}


def __getattr__(name: str) -> Any:
    """Import the scripting classes at first use: they import PyTorch, which takes seconds."""
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(MODULES[name]), name)
