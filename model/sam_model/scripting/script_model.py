"""What `SAM`, `FastSAM` and `YOLO` have in common: device, class names, size, images."""

import logging
from typing import Any, Self

import torch

from sam_model import ASSETS
from sam_model.interfaces import Detector, Segmenter
from sam_model.runtime.torch_runtime import Device
from sam_model.scripting.devices import model_device, move_model
from sam_model.scripting.model_info import ModelInfo, model_info
from sam_model.scripting.sources import Source

logger = logging.getLogger(__name__)


class ScriptModel:
    """A model for scripts. It keeps no image between calls."""

    def __init__(self, model: Segmenter[Any] | Detector) -> None:
        """Take the model that the calls use."""
        self._model = model

    @property
    def names(self) -> dict[int, str]:
        """The class names by class id; empty for SAM, whose results have a class per mask."""
        return dict(enumerate(getattr(self._model, "class_names", ())))

    @property
    def device(self) -> torch.device:
        """The device that the model runs on."""
        return model_device(self._model)

    def to(self, device: Device) -> Self:
        """Move the model to another device, and return this object.

        Raises:
            ValueError: the device is unknown or not available, or the model cannot be moved to it.
        """
        move_model(self._model, device)
        return self

    def info(self, detailed: bool = False, verbose: bool = True) -> ModelInfo:
        """Return the model's size, device and precision; print them unless `verbose` is False.

        Args:
            detailed: print each layer as well.
            verbose: print the result.
        """
        return model_info(self._model, detailed=detailed, verbose=verbose)


def source_or_samples(source: Source | None) -> Source:
    """Return a source; the folder of this package's sample images if it is None, as in Ultralytics."""
    if source is not None:
        return source
    logger.warning("no source was given; using the sample images in %s", ASSETS)
    return ASSETS
