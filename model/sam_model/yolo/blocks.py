"""Blocks of the YOLO networks: convolution, bottleneck, C2f, C3, SPPF, concatenation.

A block takes the modules that it consists of, so that a checkpoint's own modules decide about sizes and activations.
Attribute names are the keys of the official checkpoints.

Sources: CSPNet, arXiv:1911.11929 (C3: two branches, one of them a chain of bottlenecks), and ELAN, arXiv:2211.04800
(C2f: split, a chain of bottlenecks, concatenation); spatial pyramid pooling, arXiv:1406.4729 (SPPF: one small pooling
repeated, instead of several sizes in parallel); SiLU, arXiv:1702.03118. The structure follows the published
descriptions of YOLOv5, YOLOv8, YOLO11 and YOLO26.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

BATCH_NORM_EPS = 1e-3


class Conv(nn.Module):
    """Convolution, batch norm, activation."""

    def __init__(self, conv: nn.Conv2d, bn: nn.Module, act: nn.Module) -> None:
        super().__init__()
        self.conv, self.bn, self.act = conv, bn, act

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        out: Tensor = self.act(self.bn(self.conv(x)))
        return out

    def fuse(self) -> None:
        """Fuse the norm into the convolution; for inference only."""
        if isinstance(self.bn, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.bn)
            self.bn = nn.Identity()


def convolution(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> Conv:
    """Return a convolution with batch norm and SiLU, which keeps the size of the map if `stride` is 1."""
    return Conv(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=BATCH_NORM_EPS, momentum=0.03),
        nn.SiLU(inplace=True),
    )


class Bottleneck(nn.Module):
    """Two convolutions; the input is added if there is a shortcut."""

    def __init__(self, cv1: nn.Module, cv2: nn.Module, has_shortcut: bool) -> None:
        super().__init__()
        self.cv1, self.cv2 = cv1, cv2
        self.has_shortcut = has_shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        out: Tensor = self.cv2(self.cv1(x))
        return x + out if self.has_shortcut else out


class C2f(nn.Module):
    """Half of the channels passes a chain of blocks; both halves and all intermediate results are concatenated.

    The blocks are bottlenecks in YOLOv8; in YOLO11 and YOLO26, where it is called C3k2, also C3 or attention.
    """

    def __init__(self, cv1: nn.Module, cv2: nn.Module, blocks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.cv1, self.cv2 = cv1, cv2
        self.m = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H, W)."""
        links = list(self.cv1(x).chunk(2, dim=1))
        for block in self.m:
            links.append(block(links[-1]))
        out: Tensor = self.cv2(torch.cat(links, dim=1))
        return out


class C3(nn.Module):
    """Two branches, one of them a chain of bottlenecks, concatenated."""

    def __init__(self, cv1: nn.Module, cv2: nn.Module, cv3: nn.Module, blocks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.cv1, self.cv2, self.cv3 = cv1, cv2, cv3
        self.m = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H, W)."""
        out: Tensor = self.cv3(torch.cat([self.m(self.cv1(x)), self.cv2(x)], dim=1))
        return out


class SPPF(nn.Module):
    """Spatial pyramid pooling: the maxima over growing windows, concatenated with the input."""

    def __init__(
        self, cv1: nn.Module, cv2: nn.Module, pool: nn.Module, repeats: int = 3, has_shortcut: bool = False
    ) -> None:
        super().__init__()
        self.cv1, self.cv2, self.m = cv1, cv2, pool
        self.repeats, self.has_shortcut = repeats, has_shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H, W)."""
        views = [self.cv1(x)]
        for _ in range(self.repeats):
            views.append(self.m(views[-1]))
        out: Tensor = self.cv2(torch.cat(views, dim=1))
        return x + out if self.has_shortcut else out


class Concat(nn.Module):
    """Concatenation of maps of one size."""

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Map several (B, C, H, W) to (B, sum of C, H, W)."""
        return torch.cat(list(maps), dim=1)
