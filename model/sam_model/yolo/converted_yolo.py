"""A YOLO network run by OpenVINO as soon as it is converted. Boxes are made from its output in float32."""

import threading
from pathlib import Path

import torch
from torch import Tensor, nn

from sam_model.runtime.converted_network import ConvertedNetwork, Example
from sam_model.yolo.heads import RawDetections
from sam_model.yolo.network import Yolo

EXAMPLE_SIZE = (384, 640)  # of an input; converted networks take any size


class OutputsModule(nn.Module):
    """`Yolo.outputs` as a module."""

    def __init__(self, network: Yolo, one_to_one: bool) -> None:
        super().__init__()
        self.network, self.one_to_one = network, one_to_one

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map images (1, 3, H, W) to the outputs of the head."""
        return self.network.outputs(x, one_to_one=self.one_to_one)


class ConvertedYolo:
    """A network with float32 weights on the CPU. Threads may share it."""

    def __init__(self, network: Yolo, name: str, digest: str, dtype: str, folder: Path) -> None:
        """Take the network; the conversion starts with the first image.

        Args:
            network: fused, in float32, on the CPU.
            name: of the model, for the names of files.
            digest: of the weights.
            dtype: `float32` or `bfloat16`.
            folder: of the converted networks.
        """
        self._network, self._name, self._digest, self._dtype, self._folder = network, name, digest, dtype, folder
        self._lock = threading.Lock()
        self._converted: dict[bool, ConvertedNetwork] = {}

    def __call__(self, x: Tensor, *, one_to_one: bool = False) -> RawDetections:
        """Compute what `Yolo.forward` does, of one image (1, 3, H, W)."""
        outputs = self._outputs(one_to_one)(x)
        return self._network.head.detections(outputs, (x.shape[2], x.shape[3]), one_to_one=one_to_one)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the conversions that have started have ended; return whether OpenVINO runs the network."""
        networks = list(self._converted.values())
        return bool(networks) and all(network.wait(timeout_s) for network in networks)

    def _outputs(self, one_to_one: bool) -> ConvertedNetwork:
        with self._lock:
            if one_to_one not in self._converted:
                noise = torch.rand(1, 3, *EXAMPLE_SIZE, generator=torch.Generator().manual_seed(0))
                self._converted[one_to_one] = ConvertedNetwork(
                    OutputsModule(self._network, one_to_one),
                    [Example(noise, varying=(2, 3))],
                    f"{self._name}-one-to-one" if one_to_one else self._name,
                    self._digest,
                    self._dtype,
                    self._folder,
                )
            return self._converted[one_to_one]
