"""Model name or file -> a segmenter that is ready to work."""

from typing import Any

from sam_model.interfaces import Segmenter


def load_segmenter(name_or_path: str, device: str = "cpu") -> Segmenter[Any]:
    """The segmenter called `name_or_path`; `"classical"` needs no weights.

    Raises:
        ValueError: no model of that name.
    """
    if name_or_path == "classical":
        from sam_model.classical.segmenter import ClassicalSegmenter

        return ClassicalSegmenter()
    raise ValueError(f"model {name_or_path!r} is unknown; known: 'classical'")
