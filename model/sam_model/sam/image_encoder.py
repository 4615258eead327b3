"""SAM's image encoder: a plain vision transformer with windowed attention, and a neck.

Source: ViTDet, arXiv:2203.16527, section 3; SAM, arXiv:2304.02643, appendix A.
"""

import torch
from torch import Tensor, nn

from sam_model.sam.attention import RelativeAttention
from sam_model.sam.layers import MLPBlock, channels_last, neck
from sam_model.sam.sizes import VitSize


class ImageEncoderViT(nn.Module):
    """From a normalised, padded image to its embedding.

    Shape: (B, 3, image_size, image_size) to (B, outputs, grid, grid).
    """

    def __init__(self, size: VitSize, image_size: int, outputs: int) -> None:
        super().__init__()
        grid = image_size // size.patch
        self.patch_embed = PatchEmbed(size.patch, size.width)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, size.width))
        self.blocks = nn.ModuleList(
            Block(size.width, size.heads, side=grid if i in size.global_blocks else size.window)
            for i in range(size.depth)
        )
        self.neck = neck(size.width, outputs)
        self.early_block = min(size.global_blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Embed images (B, 3, image_size, image_size)."""
        return self.with_early_map(x)[0]

    def with_early_map(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the embedding of images, and the map (B, grid, grid, C) after the first global attention."""
        x = self.patch_embed(x) + self.pos_embed  # (B, grid, grid, C)
        early = x
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i == self.early_block:
                early = x
        return self.neck(x.permute(0, 3, 1, 2)), early  # (B, grid, grid, C) -> (B, outputs, grid, grid)


class Block(nn.Module):
    """A transformer block, norms first.

    Shape: (B, H, W, C) to (B, H, W, C).
    """

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = RelativeAttention(width, heads, side)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = MLPBlock(width, 4 * width, nn.GELU)

    def forward(self, x: Tensor) -> Tensor:
        """Attend, then transform every token of `x` (B, H, W, C)."""
        x = x + self.attn(self.norm1(x))
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


class PatchEmbed(nn.Module):
    """Patches of pixels become tokens; they overlap if `stride` is smaller than `patch`.

    Shape: (B, 3, H, W) to (B, H / stride, W / stride, C).
    """

    def __init__(self, patch: int, width: int, stride: int | None = None, padding: int = 0) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=patch, stride=stride or patch, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        """Embed the patches of `x` (B, 3, H, W)."""
        return channels_last(self.proj(x))
