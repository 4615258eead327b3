"""Attention over a map of tokens with decomposed relative positions.

Source: ViTDet, arXiv:2203.16527, section 3, and MViTv2, arXiv:2112.01526, section 4.1: to the logit of a query at
(y, x) and a key at (v, u) come two products of the query with learned vectors, one for y - v, one for x - u.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_model.sam.layers import join_windows, split_windows

FOLD_FROM_TOKENS = 1024  # from here on a bias of tokens x tokens per head costs more than a longer head does


class RelativeAttention(nn.Module):
    """Multi-head self-attention within square windows of side `side`.

    Shape: (B, H, W, C) to (B, H, W, C); windows that reach over the edge see zeros there, as in training.
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
        """Projected windows (B, S, S, 3C) to (B, S, S, C)."""
        batch, side, heads, tokens = qkv.shape[0], self.side, self.heads, self.side**2
        q, k, v = qkv.view(batch, tokens, 3, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)  # each (B, heads, S*S, c)
        by_row, by_column = self._position_logits(q)  # (B, heads, S*S, S) each
        if tokens < FOLD_FROM_TOKENS:
            bias = by_row.unsqueeze(-1) + by_column.unsqueeze(-2)  # (B, heads, S*S, S, S)
            bias = bias.view(batch, heads, tokens, tokens)
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=self.scale)
        else:
            y = self._attend_folded(q, k, v, by_row, by_column)
        return y.transpose(1, 2).reshape(batch, side, side, -1)

    def _attend_folded(self, q: Tensor, k: Tensor, v: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
        """The same without a bias of S*S x S*S: queries carry their position logits, keys point at theirs.

        [scale * q, by_row, by_column] . [k, one-hot row, one-hot column]
        is scale * q.k + by_row[row] + by_column[column]
        """
        one_hot = torch.eye(self.side, dtype=k.dtype, device=k.device)
        rows = one_hot.repeat_interleave(self.side, dim=0)  # (S*S, S)
        columns = one_hot.repeat(self.side, 1)
        where = torch.cat([rows, columns], dim=1).expand(*k.shape[:2], -1, -1)  # (B, heads, S*S, 2S)
        long_q = torch.cat([q * self.scale, by_row, by_column], dim=-1)
        long_k = torch.cat([k, where], dim=-1)
        long_v = F.pad(v, (0, 2 * self.side))  # the fused kernels want heads of one length
        return F.scaled_dot_product_attention(long_q, long_k, long_v, scale=1.0)[..., : v.shape[-1]]

    def _position_logits(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Queries (B, heads, S*S, c) times the vectors of all key rows and all key columns, (B, heads, S*S, S) each."""
        side = self.side
        index = torch.arange(side, device=q.device)
        index = index[:, None] - index[None, :] + side - 1  # (query, key): 0 is the key farthest after the query
        by_place = q.view(*q.shape[:2], side, side, -1)  # (B, heads, y, x, c)
        by_row = by_place @ self.rel_pos_h[index].transpose(1, 2)  # (y, x, c) @ (y, c, v) -> (y, x, v)
        by_column = by_place.transpose(2, 3) @ self.rel_pos_w[index].transpose(1, 2)  # (x, y, c) @ (x, c, u)
        return by_row.flatten(2, 3), by_column.transpose(2, 3).flatten(2, 3)
