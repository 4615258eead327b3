"""The PyTorch side: pixels and tensors, nothing of Label Studio."""

from typing import TYPE_CHECKING, Any

from sam_model.registry import load_detector, load_segmenter

if TYPE_CHECKING:
    from sam_model.annotation.auto_annotate import auto_annotate
    from sam_model.segment_anything import SAM, SAMPredictor
    from sam_model.yolo_models import YOLO, FastSAM

__all__ = ["SAM", "YOLO", "FastSAM", "SAMPredictor", "auto_annotate", "load_detector", "load_segmenter"]


def __getattr__(name: str) -> Any:
    """`SAM` and `SAMPredictor` bring PyTorch along, so they come when they are asked for; so do the others."""
    if name in ("SAM", "SAMPredictor"):
        from sam_model import segment_anything

        return getattr(segment_anything, name)
    if name in ("YOLO", "FastSAM"):
        from sam_model import yolo_models

        return getattr(yolo_models, name)
    if name == "auto_annotate":
        from sam_model.annotation import auto_annotate as module

        return module.auto_annotate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
