"""Attention blocks of YOLO11 and YOLO26.

Attribute names are the keys of the official checkpoints.

Sources: scaled dot-product attention, arXiv:1706.03762; YOLOv10, arXiv:2405.14458, section 3.2 ("partial
self-attention": only half of the channels passes the attention).
"""

import torch
from torch import Tensor, nn


class Attention(nn.Module):
    """Self-attention over the cells of a map; a depthwise convolution of the values tells positions apart."""

    def __init__(self, qkv: nn.Module, proj: nn.Module, pe: nn.Module, heads: int, key_channels: int) -> None:
        """Take the modules.

        Args:
            qkv: makes queries, keys and values of all heads.
            proj: mixes the heads.
            pe: makes the position's part from the values.
            heads: number of heads.
            key_channels: channels of a key, and of a query, per head.
        """
        super().__init__()
        self.qkv, self.proj, self.pe = qkv, proj, pe
        self.heads, self.key_channels = heads, key_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        size, keys = x.shape, self.key_channels
        heads = self.qkv(x).reshape(size[0], self.heads, -1, size[2] * size[3])  # (B, heads, channels, cells)
        q, k, v = heads.split([keys, keys, heads.shape[2] - 2 * keys], dim=2)
        weights = (q.transpose(2, 3) @ k * keys**-0.5).softmax(dim=3)  # (B, heads, cells, cells)
        seen = (v @ weights.transpose(2, 3)).reshape(size)
        out: Tensor = self.proj(seen + self.pe(v.reshape(size)))
        return out


class PsaBlock(nn.Module):
    """Attention and two convolutions; the input of each is added if there is a shortcut."""

    def __init__(self, attn: nn.Module, ffn: nn.Module, has_shortcut: bool = True) -> None:
        super().__init__()
        self.attn, self.ffn = attn, ffn
        self.has_shortcut = has_shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        x = self.attn(x) + x if self.has_shortcut else self.attn(x)
        out: Tensor = self.ffn(x) + x if self.has_shortcut else self.ffn(x)
        return out


class C2psa(nn.Module):
    """Half of the channels passes a chain of attention blocks."""

    def __init__(self, cv1: nn.Module, cv2: nn.Module, blocks: nn.Sequential) -> None:
        super().__init__()
        self.cv1, self.cv2, self.m = cv1, cv2, blocks

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        kept, seen = self.cv1(x).chunk(2, dim=1)
        out: Tensor = self.cv2(torch.cat([kept, self.m(seen)], dim=1))
        return out
