"""The PyTorch side: pixels and tensors, nothing of Label Studio."""

from typing import TYPE_CHECKING, Any

from sam_model.registry import load_segmenter

if TYPE_CHECKING:
    from sam_model.segment_anything import SAM, SAMPredictor

__all__ = ["SAM", "SAMPredictor", "load_segmenter"]


def __getattr__(name: str) -> Any:
    """`SAM` and `SAMPredictor` bring PyTorch along, so they come when they are asked for."""
    if name in ("SAM", "SAMPredictor"):
        from sam_model import segment_anything

        return getattr(segment_anything, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
