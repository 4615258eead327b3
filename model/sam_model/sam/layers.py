"""Layers shared by several parts of SAM: layer norm over channels, perceptrons, windows of tokens."""

import itertools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LayerNorm2d(nn.Module):
    """Layer norm over the channels, separately at every pixel.

    Shape: (B, C, H, W) to (B, C, H, W).
    Source: ConvNeXt, arXiv:2201.03545, section 2.6; SAM has it in neck, mask embedding, upscaling.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x` (B, C, H, W)."""
        x = x.permute(0, 2, 3, 1)  # (B, H, W, C): layer_norm works on the last axis
        x = F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class MLPBlock(nn.Module):
    """Two linear layers with an activation between them, as in every transformer block.

    Shape: (..., C) to (..., C).
    """

    def __init__(self, width: int, hidden: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)
        self.act = activation()

    def forward(self, x: Tensor) -> Tensor:
        """Transform every token of `x` (..., C) separately."""
        y: Tensor = self.lin2(self.act(self.lin1(x)))
        return y


class MLP(nn.Module):
    """Linear layers with an activation between them, used for the heads of the mask decoder.

    Shape: (..., width) to (..., outputs).
    """

    def __init__(
        self, width: int, hidden: int, outputs: int, depth: int = 3, activation: Callable[[Tensor], Tensor] = F.relu
    ) -> None:
        super().__init__()
        self.activation = activation
        widths = [width, *[hidden] * (depth - 1), outputs]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """Transform every token of `x` (..., width) separately."""
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        y: Tensor = self.layers[-1](x)
        return y


def neck(width: int, outputs: int) -> nn.Sequential:
    """Return the last layers of either image encoder: (B, width, H, W) to the embedding (B, outputs, H, W)."""
    return nn.Sequential(
        nn.Conv2d(width, outputs, kernel_size=1, bias=False),
        LayerNorm2d(outputs),
        nn.Conv2d(outputs, outputs, kernel_size=3, padding=1, bias=False),
        LayerNorm2d(outputs),
    )


def split_windows(x: Tensor, side: int, fill: Tensor) -> Tensor:
    """Cut a map of tokens into square windows, top left first: (B, H, W, C) to (B * windows, side, side, C).

    Where windows extend beyond the right and lower edge, tokens are set to `fill` (C,).
    """
    batch, height, width, channels = x.shape
    rows, columns = -(-height // side), -(-width // side)
    if columns * side != width:
        x = torch.cat([x, fill.to(x.dtype).expand(batch, height, columns * side - width, channels)], dim=2)
    if rows * side != height:
        x = torch.cat([x, fill.to(x.dtype).expand(batch, rows * side - height, columns * side, channels)], dim=1)
    x = x.view(batch, rows, side, columns, side, channels).transpose(2, 3)
    return x.reshape(batch * rows * columns, side, side, channels)


def join_windows(windows: Tensor, height: int, width: int) -> Tensor:
    """Undo `split_windows`: (B * windows, side, side, C) to (B, H, W, C), without the padding."""
    side, channels = windows.shape[1], windows.shape[3]
    rows, columns = -(-height // side), -(-width // side)
    x = windows.view(-1, rows, columns, side, side, channels).transpose(2, 3)
    x = x.reshape(-1, rows * side, columns * side, channels)
    return x[:, :height, :width]
