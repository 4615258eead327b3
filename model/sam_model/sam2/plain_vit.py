"""EfficientTAM's image encoder: a plain vision transformer with windowed attention, and a neck.

Source: EfficientTAM, arXiv:2411.18933, section 3.1; ViTDet, arXiv:2203.16527.
"""

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_model.sam.image_encoder import PatchEmbed
from sam_model.sam.layers import neck
from sam_model.sam.sizes import VitSize
from sam_model.sam2.hiera import MultiScaleBlock

POSITION_TOKENS = 1 + 14 * 14  # learned positions of an image of 224 pixels; the first is that of the class token


class PlainEncoder(nn.Module):
    """Maps normalised images (B, 3, image_size, image_size) to their embedding (B, outputs, grid, grid)."""

    def __init__(self, size: VitSize, outputs: int) -> None:
        super().__init__()
        self.trunk = PlainViT(size)
        self.neck = PlainNeck(size.width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Embed images."""
        y: Tensor = self.neck(self.trunk(x).permute(0, 3, 1, 2))
        return y


class PlainViT(nn.Module):
    """Maps images (B, 3, image_size, image_size) to tokens (B, grid, grid, C)."""

    def __init__(self, size: VitSize) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(size.patch, size.width)
        self.pos_embed = nn.Parameter(torch.zeros(1, POSITION_TOKENS, size.width))
        self.blocks = nn.ModuleList(
            MultiScaleBlock(
                inputs=size.width,
                width=size.width,
                heads=size.heads,
                side=0 if i in size.global_blocks else size.window,
                is_pooled=False,
            )
            for i in range(size.depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens of images."""
        x = self.patch_embed(x)
        x = x + self.positions(x.shape[1])
        for block in self.blocks:
            x = block(x)
        return x

    def positions(self, grid: int) -> Tensor:
        """Return the learned positions, interpolated from those of the pre-training, (1, grid, grid, C)."""
        places = self.pos_embed[:, 1:]  # without the class token's
        side = math.isqrt(places.shape[1])
        places = places.reshape(1, side, side, -1).permute(0, 3, 1, 2)
        return F.interpolate(places, (grid, grid), mode="bicubic").permute(0, 2, 3, 1)


class PlainNeck(nn.Module):
    """SAM's neck, under the checkpoints' names."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        names = ("conv_1x1", "norm_0", "conv_3x3", "norm_1")
        layers = OrderedDict(zip(names, neck(width, outputs), strict=True))
        self.convs = nn.ModuleList([nn.Sequential(layers)])

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, grid, grid) to (B, outputs, grid, grid)."""
        y: Tensor = self.convs[0](x)
        return y
