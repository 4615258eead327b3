"""For `label-studio-ml init my_backend --script examples/label-studio-ml/model.py:SegmentAnything`."""

from sam_backend.ml_backend import SegmentAnything

__all__ = ["SegmentAnything"]
