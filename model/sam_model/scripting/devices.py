"""Devices of the models in scripts: which one a model is on, and moving it to another."""

from typing import Any

import torch

from sam_model.interfaces import Detector, Segmenter
from sam_model.runtime.torch_runtime import Device, torch_device
from sam_model.sam.segmenter import SamSegmenter
from sam_model.yolo.detector import YoloDetector
from sam_model.yolo.fast_sam import FastSamSegmenter

Model = Segmenter[Any] | Detector


def device_name(device: Device = None) -> str:
    """Return the name of a device: `cpu`, `cuda:1`, `mps`.

    Args:
        device: `"cpu"`, `0`, `"0"`, `"cuda:1"`, `"mps"` or a `torch.device`; `""`, `"auto"` or None for the fastest
            device of this machine.

    Raises:
        ValueError: the device is unknown, or this machine does not have it.
    """
    return str(torch_device(device))


def model_device(model: Model) -> torch.device:
    """Return the device that a model runs on; the CPU if it does not run in PyTorch."""
    return network.device if (network := _in_pytorch(model)) else torch.device("cpu")


def move_model(model: Model, device: Device) -> None:
    """Move a model to another device, while no other thread uses it.

    Raises:
        ValueError: the device is unknown, this machine does not have it, or the model cannot be moved to it.
    """
    target, network = torch_device(device), _in_pytorch(model)
    if network is not None:
        if network.device != target:
            network.to(target)
    elif target.type != "cpu":
        raise ValueError(f"device {str(target)!r}: the model {model.name} cannot be moved; it does not run in PyTorch")


def _in_pytorch(model: Model) -> SamSegmenter | YoloDetector | None:
    if isinstance(model, FastSamSegmenter):
        return model.detector
    return model if isinstance(model, SamSegmenter | YoloDetector) else None
