"""SAM 2's image encoder: Hiera, a hierarchical vision transformer, and a neck.

Source: Hiera, arXiv:2306.00989; window attention and positions, arXiv:2311.05613; SAM 2, arXiv:2408.00714, appendix C.
"""

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_model.sam.image_encoder import PatchEmbed
from sam_model.sam.layers import MLP, flat_tokens, join_windows, projections, split_windows
from sam_model.sam2.sizes import HieraSize


class ImageEncoder(nn.Module):
    """The trunk, and the neck's convolutions, which `sam_model.sam2.sam2` applies."""

    def __init__(self, size: HieraSize, outputs: int) -> None:
        super().__init__()
        self.trunk = Hiera(size)
        self.neck = Neck(size.widths, outputs)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map images (B, 3, S, S) to the four stages' maps, (B, S / 4, S / 4, C) to (B, S / 32, S / 32, 8 * C)."""
        stages: list[Tensor] = self.trunk(x)
        return stages


class Hiera(nn.Module):
    """Stages of windowed attention; the queries of a stage's first block are pooled, except in the first stage.

    Shape: (B, 3, S, S) to one map (B, H, W, C) per stage.
    """

    def __init__(self, size: HieraSize) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(patch=7, width=size.width, stride=4, padding=3)
        self.pos_embed = nn.Parameter(torch.zeros(1, size.width, size.position_grid, size.position_grid))
        self.pos_embed_window = nn.Parameter(torch.zeros(1, size.width, size.windows[0], size.windows[0]))
        self.blocks = nn.ModuleList()
        self.stage_ends: list[int] = []  # the last block of each stage
        for stage, depth in enumerate(size.depths):
            for i in range(depth):
                is_first = i == 0 and stage > 0
                self.blocks.append(
                    MultiScaleBlock(
                        inputs=size.widths[stage - is_first],
                        width=size.widths[stage],
                        heads=size.heads * 2**stage,
                        # a stage's first block still has the tokens, and the windows, of the stage before
                        side=0 if len(self.blocks) in size.global_blocks else size.windows[stage - is_first],
                        is_pooled=is_first,
                    )
                )
            self.stage_ends.append(len(self.blocks) - 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the map of each stage of images (B, 3, S, S)."""
        x = self.patch_embed(x)  # (B, S / 4, S / 4, C)
        x = x + self.positions(x.shape[1])
        stages = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self.stage_ends:
                stages.append(x)
        return stages

    def positions(self, side: int) -> Tensor:
        """Return what is added to the tokens, (1, side, side, C): global positions plus those within a window."""
        places = F.interpolate(self.pos_embed, (side, side), mode="bicubic")
        repeats = side // self.pos_embed_window.shape[-1]
        return (places + self.pos_embed_window.repeat(1, 1, repeats, repeats)).permute(0, 2, 3, 1)


class MultiScaleBlock(nn.Module):
    """A transformer block, norms first, within windows of `side` tokens; 0 is the whole map.

    Shape: (B, H, W, inputs) to (B, H, W, width), or half as high and wide if it is pooled.
    """

    def __init__(self, inputs: int, width: int, heads: int, side: int, is_pooled: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(inputs, eps=1e-6)
        self.attn = MultiScaleAttention(inputs, width, heads, side, is_pooled)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = MLP(width, 4 * width, width, depth=2, activation=F.gelu)
        self.proj = nn.Linear(inputs, width) if inputs != width else None
        self.is_pooled = is_pooled

    def forward(self, x: Tensor) -> Tensor:
        """Attend, then transform every token of `x` (B, H, W, inputs)."""
        y = self.norm1(x)
        if self.proj is not None:
            x = self.proj(y)
        if self.is_pooled:
            x = pooled(x)
        x = x + self.attn(y)
        z: Tensor = x + self.mlp(self.norm2(x))
        return z


class MultiScaleAttention(nn.Module):
    """Multi-head self-attention within square windows; pooled queries halve their side.

    Shape: (B, H, W, inputs) to (B, H, W, width), or half as high and wide. Windows that extend beyond the edge are
    padded with zeros, as in training.
    """

    def __init__(self, inputs: int, width: int, heads: int, side: int, is_pooled: bool) -> None:
        super().__init__()
        self.heads = heads
        self.side = side
        self.is_pooled = is_pooled
        self.qkv = nn.Linear(inputs, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Attend within the windows of `x` (B, H, W, inputs)."""
        height, width = x.shape[1:3]
        is_whole = self.side in (0, height)
        if is_whole:
            y = self._attend(*projections(x.flatten(1, 2), self.qkv))
        else:  # all padding is one token: its projection is computed once
            tokens = projections(flat_tokens(x, self.side), self.qkv)
            y = self._attend(*(split_windows(each, height, width, self.side) for each in tokens))
        if self.is_pooled:
            height, width = height // 2, width // 2
        y = y.view(-1, height, width, y.shape[2]) if is_whole else join_windows(y, height, width)
        z: Tensor = self.proj(y)
        return z

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Map queries, keys and values of windows, (B, S * S, C) each, to (B, S * S, C) or (B, S * S / 4, C)."""
        if self.is_pooled:
            side = math.isqrt(q.shape[1])
            q = pooled(q.view(-1, side, side, q.shape[2])).flatten(1, 2)
        y = F.scaled_dot_product_attention(self._split(q), self._split(k), self._split(v))
        return y.transpose(1, 2).flatten(2)

    def _split(self, x: Tensor) -> Tensor:
        """Map tokens (B, T, C) to (B, heads, T, c)."""
        return x.view(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)


class Neck(nn.Module):
    """A convolution of kernel size 1 per stage."""

    def __init__(self, widths: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Sequential(OrderedDict(conv=nn.Conv2d(width, outputs, kernel_size=1))) for width in reversed(widths)
        )

    def laterals(self) -> list[nn.Conv2d]:
        """Return the convolutions, first stage first; the checkpoints have them in reverse order."""
        return [conv for conv in self.convs.modules() if isinstance(conv, nn.Conv2d)][::-1]


def pooled(x: Tensor) -> Tensor:
    """Return the maximum of each 2 x 2 tokens: (B, H, W, C) to (B, H / 2, W / 2, C).

    Two maxima of pairs: `amax` over two axes takes ten times as long, in PyTorch and in OpenVINO.
    """
    batch, height, width, channels = x.shape
    rows = x.reshape(batch, height // 2, 2, width, channels)
    pairs = torch.maximum(rows[:, :, 0], rows[:, :, 1]).reshape(batch, height // 2, width // 2, 2, channels)
    return torch.maximum(pairs[:, :, :, 0], pairs[:, :, :, 1])
