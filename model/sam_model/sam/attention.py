"""Attention over a map of tokens with decomposed relative positions.

The logit of a query at (y, x) and a key at (v, u) is increased by two products of the query with learned vectors, one
for y - v and one for x - u.

Source: ViTDet, arXiv:2203.16527, section 3, and MViTv2, arXiv:2112.01526, section 4.1.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_model.sam.layers import flat_tokens, join_windows, projections, split_windows

BIAS_BYTES = 64 << 20  # maximum memory of the position logits at one time


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
        if (height, width) == (self.side, self.side):
            y = self._attend(*projections(x.flatten(1, 2), self.qkv)).view(x.shape)
        else:  # all padding is one token: its projection is computed once
            tokens = projections(flat_tokens(x, self.side), self.qkv)
            y = self._attend(*(split_windows(each, height, width, self.side) for each in tokens))
            y = join_windows(y, height, width)
        z: Tensor = self.proj(y)
        return z

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Map queries, keys and values of windows, (B, S*S, C) each, to (B, S*S, C)."""
        batch, tokens, heads = q.shape[0], self.side**2, self.heads
        q, k, v = (each.view(batch, tokens, heads, -1) for each in (q, k, v))
        by_row, by_column = self._position_logits(q)  # (B, heads, S*S, S) each
        q, k, v = (each.transpose(1, 2) for each in (q, k, v))  # (B, heads, S*S, c) each
        at_once = max(1, BIAS_BYTES // (batch * tokens**2 * q.element_size()))  # heads
        groups = [slice(start, start + at_once) for start in range(0, heads, at_once)]
        y = torch.cat([self._attend_heads(*(x[:, g] for x in (q, k, v, by_row, by_column))) for g in groups], dim=1)
        return y.transpose(1, 2).flatten(2)

    def _attend_heads(self, q: Tensor, k: Tensor, v: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
        """Map queries, keys and values of some heads, (B, heads, S*S, c) each, to (B, heads, S*S, c)."""
        bias = by_row.unsqueeze(-1) + by_column.unsqueeze(-2)  # (B, heads, S*S, S, S)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias.flatten(-2), scale=self.scale)

    def _position_logits(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Return queries (B, S*S, heads, c) times the vectors of all key rows and columns, (B, heads, S*S, S) each.

        All queries of a row (of a column) have the same vectors: one product per row (per column).
        """
        side = self.side
        index = torch.arange(side, device=q.device)
        index = index[:, None] - index[None, :] + side - 1  # (query, key): 0 is the key farthest after the query
        batch, _, heads, channels = q.shape
        by_place = q.view(batch, side, side, heads, channels)  # (B, y, x, heads, c)
        by_row = by_place.flatten(2, 3) @ self.rel_pos_h[index].transpose(1, 2)  # (x heads, c) @ (c, v) for each y
        by_column = by_place.transpose(1, 2).flatten(2, 3) @ self.rel_pos_w[index].transpose(1, 2)
        by_row = by_row.view(batch, side, side, heads, side).permute(0, 3, 1, 2, 4)  # (B, heads, y, x, v)
        by_column = by_column.view(batch, side, side, heads, side).permute(0, 3, 2, 1, 4)  # (B, heads, y, x, u)
        return by_row.flatten(2, 3), by_column.flatten(2, 3)
