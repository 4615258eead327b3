"""The preprocessing of SAM 3 and EdgeTAM: an image is squashed to a square and normalised.

The image processors of transformers do the same with torchvision, which is not needed here.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sam_model.transformers_models.model_folder import IMAGE_PROCESSOR_FILES
from sam_model.types import Image
from sam_model.weights.errors import BrokenWeightsError


@dataclass(frozen=True)
class PixelStatistics:
    """Means and standard deviations of red, green and blue, in 0..1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def pixel_statistics(folder: Path) -> PixelStatistics:
    """Return the statistics in a folder's settings of the image processor.

    Raises:
        BrokenWeightsError: the folder has no such settings.
    """
    for file in IMAGE_PROCESSOR_FILES:
        try:
            settings = json.loads((folder / file).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        settings = settings.get("image_processor", settings) if isinstance(settings, dict) else {}
        if _are_three(settings.get("image_mean")) and _are_three(settings.get("image_std")):
            return PixelStatistics(tuple(settings["image_mean"]), tuple(settings["image_std"]))
    raise BrokenWeightsError(
        f"{folder.name} lacks the means and deviations of its pixels; needed: image_mean and image_std in "
        f"{' or '.join(IMAGE_PROCESSOR_FILES)}"
    )


def squashed(image: Image, side: int) -> Tensor:
    """Resize an image (H, W, 3) to a square, (1, 3, side, side) in 0..255, with antialiasing, rounded as uint8."""
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None]  # channels last in memory
    if image.shape[:2] != (side, side):
        pixels = F.interpolate(pixels, (side, side), mode="bilinear", antialias=True)
    return pixels.float()


def _are_three(values: Any) -> bool:
    return isinstance(values, list) and len(values) == 3 and all(isinstance(value, int | float) for value in values)
