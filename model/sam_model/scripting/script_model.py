"""What `SAM`, `FastSAM` and `YOLO` have in common: device, class names, size."""

from typing import Any, Self

import torch

from sam_model.interfaces import Detector, Segmenter
from sam_model.runtime.torch_runtime import Device
from sam_model.scripting.devices import model_device, move_model
from sam_model.scripting.model_info import ModelInfo, model_info


class ScriptModel:
    """A model for scripts. It keeps no image between calls."""

    def __init__(self, model: Segmenter[Any] | Detector) -> None:
        """Take the model that the calls use."""
        self._model = model

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
