"""Blocks of YOLOv8: convolution, bottleneck, C2f, SPPF.

Attribute names are the keys of the official checkpoints.

Sources: CSPNet, arXiv:1911.11929, and ELAN, arXiv:2211.04800 (C2f: split, a chain of bottlenecks, concatenation);
spatial pyramid pooling, arXiv:1406.4729 (SPPF: one small pooling repeated, instead of three sizes in parallel); SiLU,
arXiv:1702.03118. The structure follows the published description of YOLOv8.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

BATCH_NORM_EPS = 1e-3


class Conv(nn.Module):
    """Convolution, batch norm, SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(outputs, eps=BATCH_NORM_EPS, momentum=0.03)
        self.act = nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        out: Tensor = self.act(self.bn(self.conv(x)))
        return out

    def fuse(self) -> None:
        """Fuse the norm into the convolution; for inference only."""
        if isinstance(self.bn, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.bn)
            self.bn = nn.Identity()


class Bottleneck(nn.Module):
    """Two 3 x 3 convolutions; the input is added if there is a shortcut."""

    def __init__(self, channels: int, has_shortcut: bool) -> None:
        super().__init__()
        self.cv1 = Conv(channels, channels, 3)
        self.cv2 = Conv(channels, channels, 3)
        self.has_shortcut = has_shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        out: Tensor = self.cv2(self.cv1(x))
        return x + out if self.has_shortcut else out


class C2f(nn.Module):
    """Half of the channels passes a chain of bottlenecks; both halves and all intermediate results are concatenated."""

    def __init__(self, inputs: int, outputs: int, blocks: int, has_shortcut: bool) -> None:
        super().__init__()
        half = outputs // 2
        self.cv1 = Conv(inputs, 2 * half)
        self.cv2 = Conv((2 + blocks) * half, outputs)
        self.m = nn.ModuleList(Bottleneck(half, has_shortcut) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H, W)."""
        links = list(self.cv1(x).chunk(2, dim=1))
        for bottleneck in self.m:
            links.append(bottleneck(links[-1]))
        out: Tensor = self.cv2(torch.cat(links, dim=1))
        return out


class SPPF(nn.Module):
    """Spatial pyramid pooling: the maxima over 5, 9 and 13 cells, concatenated with the input."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = inputs // 2
        self.cv1 = Conv(inputs, half)
        self.cv2 = Conv(4 * half, outputs)
        self.m = nn.MaxPool2d(kernel_size=5, stride=1, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H, W)."""
        views = [self.cv1(x)]
        for _ in range(3):
            views.append(self.m(views[-1]))
        out: Tensor = self.cv2(torch.cat(views, dim=1))
        return out
