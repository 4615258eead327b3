"""The transformer of SAM's mask decoder: attention from tokens to the image and from the image to the tokens.

Before the first block changes it, the image is the same for all prompts. It then has batch size 1 and is projected
once.

Source: SAM, arXiv:2304.02643, appendix A and figure 14.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from sam_model.sam.layers import MLPBlock

FeedForward = Callable[[int, int], nn.Module]  # makes two linear layers with ReLU between them, of width and hidden


def mlp_block(width: int, hidden: int) -> nn.Module:
    """Return the two linear layers under the names of SAM's checkpoints."""
    return MLPBlock(width, hidden, nn.ReLU)


class TwoWayTransformer(nn.Module):
    """Attention in both directions between tokens (P, N, C) and an image of K places (1 or P, K, C)."""

    def __init__(self, width: int, depth: int, heads: int, mlp: int, feed_forward: FeedForward = mlp_block) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayBlock(width, heads, feed_forward(width, mlp), is_first=i == 0) for i in range(depth)
        )
        self.final_attn_token_to_image = Attention(width, heads, downsample=2)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(self, image: Tensor, image_positions: Tensor, prompt: Tensor) -> tuple[Tensor, Tensor]:
        """Return the updated tokens (P, N, C) and the updated image (P, K, C).

        Args:
            image: (1 or P, K, C).
            image_positions: (1, K, C).
            prompt: (P, N, C), the initial tokens, which are also their positional encoding.
        """
        tokens = prompt
        for layer in self.layers:
            tokens, image = layer(tokens, image, prompt, image_positions)
        seen = self.final_attn_token_to_image(tokens + prompt, image + image_positions, image)
        return self.norm_final_attn(tokens + seen), image


class TwoWayBlock(nn.Module):
    """Self-attention of the tokens, tokens to image, a perceptron on the tokens, image to tokens."""

    def __init__(self, width: int, heads: int, mlp: nn.Module, is_first: bool) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = Attention(width, heads, downsample=2)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = mlp
        self.norm3 = nn.LayerNorm(width)
        self.norm4 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = Attention(width, heads, downsample=2)
        self.is_first = is_first

    def forward(
        self, tokens: Tensor, image: Tensor, token_positions: Tensor, image_positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Update tokens (P, N, C) and image (1 or P, K, C), the latter to (P, K, C)."""
        if self.is_first:  # the tokens equal their positions, so there is no residual connection
            tokens = self.norm1(self.self_attn(tokens, tokens, tokens))
        else:
            placed = tokens + token_positions
            tokens = self.norm1(tokens + self.self_attn(placed, placed, tokens))
        placed_image = image + image_positions
        seen = self.cross_attn_token_to_image(tokens + token_positions, placed_image, image)
        tokens = self.norm2(tokens + seen)
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = image + self.cross_attn_image_to_token(placed_image, tokens + token_positions, tokens)
        return tokens, self.norm4(image)


class Attention(nn.Module):
    """Multi-head attention, with fewer channels than its inputs if `downsample` > 1.

    Queries (P, N, C), keys and values (P, K, C) to (P, N, C). Queries, or keys and values, may have batch size 1.
    """

    def __init__(self, width: int, heads: int, downsample: int = 1) -> None:
        super().__init__()
        inner = width // downsample
        self.heads = heads
        self.q_proj = nn.Linear(width, inner)
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend from `q` to `k`, and combine `v`."""
        q, k, v = self._split(self.q_proj(q)), self._split(self.k_proj(k)), self._split(self.v_proj(v))
        prompts, _, n, _ = q.shape
        if k.shape[0] == 1 and prompts > 1:  # one image for all prompts: their tokens become one long row of queries
            q = q.transpose(0, 1).flatten(1, 2)[None]  # (P, heads, N, c) -> (1, heads, P * N, c)
            y = F.scaled_dot_product_attention(q, k, v).view(self.heads, prompts, n, -1).permute(1, 2, 0, 3)
        else:
            q = q.expand(k.shape[0], -1, -1, -1)
            y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        z: Tensor = self.out_proj(y.flatten(2))  # (P, N, heads, c) -> (P, N, C)
        return z

    def _split(self, x: Tensor) -> Tensor:
        """Map (P, N, C) to (P, heads, N, c)."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)
