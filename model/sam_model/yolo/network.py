"""YOLOv8: backbone, neck and head.

`model.0` to `model.22` are the keys of the official checkpoints. 10, 11, 13, 14, 17 and 20 are missing, because these
layers upsample or concatenate maps and have no weights.

Sources: feature pyramids, arXiv:1612.03144, and path aggregation, arXiv:1803.01534. The structure follows the published
description of YOLOv8.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_model.yolo.blocks import SPPF, C2f, Conv
from sam_model.yolo.heads import Detect, RawDetections, Segment
from sam_model.yolo.sizes import YoloSize


class YoloV8(nn.Module):
    """A YOLOv8 of any size; a segmentation model if `has_masks`."""

    def __init__(self, size: YoloSize, classes: int, has_masks: bool) -> None:
        super().__init__()
        self.size, self.classes, self.has_masks = size, classes, has_masks
        c1, c2, c3, c4, c5 = (size.channels(count) for count in (64, 128, 256, 512, 1024))
        few, many = size.blocks(3), size.blocks(6)
        maps = (c3, c4, c5)
        layers: dict[int, nn.Module] = {
            0: Conv(3, c1, 3, 2),
            1: Conv(c1, c2, 3, 2),
            2: C2f(c2, c2, few, True),
            3: Conv(c2, c3, 3, 2),
            4: C2f(c3, c3, many, True),
            5: Conv(c3, c4, 3, 2),
            6: C2f(c4, c4, many, True),
            7: Conv(c4, c5, 3, 2),
            8: C2f(c5, c5, few, True),
            9: SPPF(c5, c5),
            12: C2f(c5 + c4, c4, few, False),
            15: C2f(c4 + c3, c3, few, False),
            16: Conv(c3, c3, 3, 2),
            18: C2f(c3 + c4, c4, few, False),
            19: Conv(c4, c4, 3, 2),
            21: C2f(c4 + c5, c5, few, False),
            22: Segment(maps, classes, size.channels(256)) if has_masks else Detect(maps, classes),
        }
        self.model = nn.ModuleDict({str(index): layer for index, layer in layers.items()})

    def forward(self, x: Tensor) -> RawDetections:
        """Run the network on images (B, 3, H, W), RGB in 0..1, H and W multiples of 32."""
        down8 = self._through(x, 0, 1, 2, 3, 4)
        down16 = self._through(down8, 5, 6)
        down32 = self._through(down16, 7, 8, 9)
        middle = self._through(_concatenated(_upsampled(down32), down16), 12)
        fine = self._through(_concatenated(_upsampled(middle), down8), 15)
        middle = self._through(_concatenated(self._through(fine, 16), middle), 18)
        coarse = self._through(_concatenated(self._through(middle, 19), down32), 21)
        found: RawDetections = self.model["22"]((fine, middle, coarse))
        return found

    def fuse(self) -> None:
        """Fuse every norm into its convolution; for inference only."""
        for module in self.modules():
            if isinstance(module, Conv):
                module.fuse()

    def _through(self, x: Tensor, *layers: int) -> Tensor:
        for layer in layers:
            x = self.model[str(layer)](x)
        return x


def _upsampled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def _concatenated(*maps: Tensor) -> Tensor:
    return torch.cat(maps, dim=1)
