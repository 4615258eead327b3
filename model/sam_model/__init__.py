"""The PyTorch side: pixels and tensors, nothing of Label Studio."""

from sam_model.registry import load_segmenter

__all__ = ["load_segmenter"]
