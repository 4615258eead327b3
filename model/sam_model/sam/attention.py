"""Attention over a map of tokens with decomposed relative positions.

The logit of a query at (y, x) and a key at (v, u) is increased by two products of the query with learned vectors, one
for y - v and one for x - u.

Source: ViTDet, arXiv:2203.16527, section 3, and MViTv2, arXiv:2112.01526, section 4.1.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_model.sam.layers import join_windows, split_windows

BIAS_BYTES = 256 << 20  # maximum memory of the position logits at one time


class RelativeAttention(nn.Module):
    """Multi-head self-attention within square windows of side `side`.

    Shape: (B, H, W, C) to (B, H, W, C). Windows that extend beyond the edge are padded with zeros, as in training.
    """

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads = heads
        self.side = side
        self.scale = (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, width // heads))

    def forward(self, x: Tensor) -> Tensor:
        """Attend within the windows of `x` (B, H, W, C)."""
        height, width = x.shape[1:3]
        qkv = self.qkv(x)  # (B, H, W, 3C)
        if (height, width) == (self.side, self.side):
            y = self._attend(qkv)
        else:  # a zero token has the bias as its projection: no need to project the padding
            y = join_windows(self._attend(split_windows(qkv, self.side, self.qkv.bias)), height, width)
        z: Tensor = self.proj(y)
        return z

    def _attend(self, qkv: Tensor) -> Tensor:
        """Map projected windows (B, S, S, 3C) to (B, S, S, C)."""
        batch, side, heads, tokens = qkv.shape[0], self.side, self.heads, self.side**2
        q, k, v = qkv.view(batch, tokens, 3, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)  # each (B, heads, S*S, c)
        by_row, by_column = self._position_logits(q)  # (B, heads, S*S, S) each
        at_once = max(1, BIAS_BYTES // (batch * tokens**2 * q.element_size()))  # heads
        groups = [slice(start, start + at_once) for start in range(0, heads, at_once)]
        y = torch.cat([self._attend_heads(*(x[:, g] for x in (q, k, v, by_row, by_column))) for g in groups], dim=1)
        return y.transpose(1, 2).reshape(batch, side, side, -1)

    def _attend_heads(self, q: Tensor, k: Tensor, v: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
        """Map queries, keys and values of some heads, (B, heads, S*S, c) each, to (B, heads, S*S, c)."""
        bias = by_row.unsqueeze(-1) + by_column.unsqueeze(-2)  # (B, heads, S*S, S, S)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias.flatten(-2), scale=self.scale)

    def _position_logits(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Return queries (B, heads, S*S, c) times the vectors of all key rows and columns, (B, heads, S*S, S) each."""
        side = self.side
        index = torch.arange(side, device=q.device)
        index = index[:, None] - index[None, :] + side - 1  # (query, key): 0 is the key farthest after the query
        by_place = q.view(*q.shape[:2], side, side, -1)  # (B, heads, y, x, c)
        by_row = by_place @ self.rel_pos_h[index].transpose(1, 2)  # (y, x, c) @ (y, c, v) -> (y, x, v)
        by_column = by_place.transpose(2, 3) @ self.rel_pos_w[index].transpose(1, 2)  # (x, y, c) @ (x, c, u)
        return by_row.flatten(2, 3), by_column.transpose(2, 3).flatten(2, 3)
