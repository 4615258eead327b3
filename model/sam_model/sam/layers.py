"""Layers shared by several parts of SAM: layer norm over channels, perceptrons, windows of tokens."""

import itertools
import math
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
        x = channels_last(x)  # layer_norm works on the last axis
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


def channels_last(x: Tensor) -> Tensor:
    """Return a map (B, C, H, W) as tokens (B, H, W, C).

    OpenVINO takes these two steps as another view of what a convolution returns; `permute` makes it copy slowly.
    """
    return x.flatten(2).transpose(1, 2).view(-1, x.shape[2], x.shape[3], x.shape[1])


def projections(x: Tensor, qkv: nn.Linear) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, keys and values (..., C) of tokens (..., C): three products, so that none has to be cut out."""
    weights, biases = qkv.weight.chunk(3), qkv.bias.chunk(3)
    q, k, v = (F.linear(x, weight, bias) for weight, bias in zip(weights, biases, strict=True))
    return q, k, v


def flat_tokens(x: Tensor, side: int) -> Tensor:
    """Return the tokens of a map (B, H, W, C) in one row, (B, H * W, C), for `split_windows`.

    A token of zeros follows, (B, H * W + 1, C), if windows of `side` tokens extend beyond the right or lower edge.
    """
    height, width = x.shape[1:3]
    x = x.flatten(1, 2)
    return F.pad(x, (0, 0, 0, 1)) if height % side or width % side else x


def split_windows(tokens: Tensor, height: int, width: int, side: int) -> Tensor:
    """Gather the tokens of a map into square windows, top left first: (B, T, C) to (B * windows, side * side, C).

    Args:
        tokens: those of (height, width) row by row, and one more if windows extend beyond the edge: it stands there.
        height: of the map.
        width: of the map.
        side: of a window.
    """
    down, across = -(-height // side), -(-width // side)
    rows = torch.arange(down * side, device=tokens.device)[:, None]
    columns = torch.arange(across * side, device=tokens.device)
    places = torch.where((rows < height) & (columns < width), rows * width + columns, height * width)
    places = places.view(down, side, across, side).transpose(1, 2)
    return tokens.index_select(1, places.flatten()).view(-1, side * side, tokens.shape[2])


def join_windows(windows: Tensor, height: int, width: int) -> Tensor:
    """Undo `split_windows`: (B * windows, side * side, C) to (B, height, width, C)."""
    side, channels = math.isqrt(windows.shape[1]), windows.shape[2]
    down, across = -(-height // side), -(-width // side)
    rows = torch.arange(height, device=windows.device)[:, None]
    columns = torch.arange(width, device=windows.device)
    window = rows // side * across + columns // side
    places = window * side**2 + rows % side * side + columns % side  # (height, width)
    tokens = windows.reshape(-1, down * across * side**2, channels)
    return tokens.index_select(1, places.flatten()).view(-1, height, width, channels)
