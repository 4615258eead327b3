"""Images with blots that `ColourDetector` finds."""

from pathlib import Path

import numpy as np
import PIL.Image

from sam_model.types import Image
from sam_testing.colour_detector import COLOURS

Blot = tuple[str, tuple[int, int, int, int]]  # class, box of whole pixels
CHERRY: Blot = ("cherry", (10, 5, 30, 20))  # 300 pixels
LEAF: Blot = ("leaf", (40, 20, 50, 40))  # 200 pixels


def blots(*of: Blot, width: int = 60, height: int = 50) -> Image:
    """Return a grey image (H, W, 3) with blots."""
    image = np.full((height, width, 3), 128, np.uint8)
    for name, (x_min, y_min, x_max, y_max) in of:
        image[y_min:y_max, x_min:x_max] = COLOURS[name]
    return image


def save_blots(path: Path, *of: Blot, width: int = 60, height: int = 50) -> Path:
    """Return the same image as a lossless file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(blots(*of, width=width, height=height)).save(path)
    return path
