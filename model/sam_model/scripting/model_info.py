"""Size, device and precision of a model."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from sam_model.interfaces import Detector, Segmenter
from sam_model.sam.segmenter import SamSegmenter
from sam_model.scripting.devices import model_device
from sam_model.yolo.detector import YoloDetector
from sam_model.yolo.fast_sam import FastSamSegmenter


@dataclass(frozen=True)
class ModelInfo:
    """A model's size, device and precision."""

    name: str
    layers: int  # modules, containers counted; 0 if the model is not a PyTorch network
    parameters: int
    nbytes: int  # of the parameters in memory
    device: str
    dtype: str  # of the parameters; empty if there are none

    def __str__(self) -> str:
        if not self.layers:
            return f"{self.name}: not a PyTorch network, on {self.device}"
        return (
            f"{self.name}: {self.layers} layers, {self.parameters:,} parameters ({self.parameters / 1e6:.1f} M), "
            f"{self.nbytes / 2**20:.1f} MiB, {self.dtype} on {self.device}"
        )


def model_info(model: Segmenter[Any] | Detector, *, detailed: bool = False, verbose: bool = True) -> ModelInfo:
    """Return a model's size, device and precision.

    Args:
        model: any segmenter or detector.
        detailed: print each layer as well.
        verbose: print the result.
    """
    network = _network(model)
    parameters = list(network.parameters()) if network is not None else []
    info = ModelInfo(
        name=model.name,
        layers=sum(1 for _ in network.modules()) if network is not None else 0,
        parameters=sum(parameter.numel() for parameter in parameters),
        nbytes=sum(parameter.nbytes for parameter in parameters),
        device=str(model_device(model)),
        dtype=str(parameters[0].dtype).removeprefix("torch.") if parameters else "",
    )
    if detailed and network is not None:
        for name, parameter in network.named_parameters():
            print(f"{name:<60} {parameter.numel():>12,}  {'x'.join(map(str, parameter.shape))}")
    if verbose:
        print(info)
    return info


def _network(model: Segmenter[Any] | Detector) -> nn.Module | None:
    if isinstance(model, SamSegmenter):
        return model.model
    if isinstance(model, FastSamSegmenter):
        return model.detector.network
    return model.network if isinstance(model, YoloDetector) else None
