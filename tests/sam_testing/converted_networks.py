"""Models whose networks the fastest runtime of this machine runs from their first call.

All tests share a folder of converted networks (`SAM_CONVERTED_DIR`, see tests/conftest.py), so each network is
converted once.
"""

from pathlib import Path
from typing import Any

import numpy as np

from sam_model.registry import load_segmenter
from sam_model.types import Point, Prompt

TIMEOUT_S = 300  # of a conversion on a busy machine


def converted_segmenter(weights: Path) -> Any:
    """Return the segmenter of a file of SAM weights, as a service loads it; its networks are converted."""
    segmenter: Any = load_segmenter(str(weights), "cpu", dtype="auto", runtime="auto")
    embedding = segmenter.embed(np.zeros((64, 64, 3), np.uint8))
    segmenter.segment(embedding, [Prompt((Point(30, 30),))])  # starts the conversion of the decoder
    assert segmenter.runtime.name != "openvino" or segmenter._converted.wait(TIMEOUT_S)
    return segmenter
