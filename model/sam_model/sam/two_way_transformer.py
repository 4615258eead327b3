"""The transformer of SAM's mask decoder: attention from tokens to the image and from the image to the tokens.

The result is that of the official code, in another order. What depends on the image alone is computed once per image
(`prepare`). The change of a place of the image by N tokens is a sum of N vectors per attention head, so the projections
of the changed image need the projections of these vectors and of the unchanged image only. The layer norm in between
is applied after the projection, since it is linear but for two numbers per place.

Source: SAM, arXiv:2304.02643, appendix A and figure 14.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_model.sam.layers import MLPBlock

FeedForward = Callable[[int, int], nn.Module]  # makes two linear layers with ReLU between them, of width and hidden
ImageParts = tuple[Tensor, ...]  # what `prepare` returns


def mlp_block(width: int, hidden: int) -> nn.Module:
    """Return the two linear layers under the names of SAM's checkpoints."""
    return MLPBlock(width, hidden, nn.ReLU)


class TwoWayTransformer(nn.Module):
    """Attention in both directions between tokens (P, N, C) and an image of K places (1 or P, K, C)."""

    def __init__(self, width: int, depth: int, heads: int, mlp: int, feed_forward: FeedForward = mlp_block) -> None:
        super().__init__()
        assert depth == 2, "the order of the computation is written for two blocks"
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
        return self.attend(self.prepare(image, image_positions), prompt)

    def prepare(self, image: Tensor, image_positions: Tensor) -> ImageParts:
        """Compute what does not depend on the tokens.

        Return the keys, values and queries of the first block (1 or P, K, c), the image to which its change is added
        (1 or P, K, C), the projections of that image in the second block (1 or P, K, 3c), what its positions add to
        them (1, K, 3c), and to the keys of the last attention (1, K, c).
        """
        first, second = self._blocks()
        to_image, to_tokens = first.cross_attn_token_to_image, first.cross_attn_image_to_token
        placed = image + image_positions
        start = image + to_tokens.out_proj.bias
        weight, bias, is_placed = second.image_projections()
        norm = first.norm4
        shift = (image_positions @ weight) * is_placed + (bias + norm.bias @ weight)
        return (
            to_image.k_proj(placed),
            to_image.v_proj(image),
            to_tokens.q_proj(placed),
            start,
            start @ (norm.weight[:, None] * weight),
            shift,
            F.linear(image_positions, self.final_attn_token_to_image.k_proj.weight),
        )

    def attend(self, parts: ImageParts, prompt: Tensor) -> tuple[Tensor, Tensor]:
        """Return the updated tokens (P, N, C) and the updated image (P, K, C); `prompt` as in `forward`."""
        keys, values, queries, start, projected, shift, last_places = parts
        first, second = self._blocks()
        tokens = first.update_tokens(prompt, prompt, keys, values)
        shares, changes = first.image_change(queries, tokens, prompt)
        changed = start + shares @ changes
        image = first.norm4(changed)

        variance, mean = torch.var_mean(changed, -1, correction=0, keepdim=True)
        weight = first.norm4.weight[:, None] * second.image_projections()[0]
        projected = projected + shares @ (changes @ weight)  # (P, K, 3c), before the norm
        projected = (projected - mean * weight.sum(0)) * (variance + first.norm4.eps).rsqrt() + shift

        keys, values, queries = projected.chunk(3, dim=-1)
        tokens = second.update_tokens(tokens, prompt, keys, values)
        shares, changes = second.image_change(queries, tokens, prompt)
        image = second.norm4(image + second.cross_attn_image_to_token.out_proj.bias + shares @ changes)
        seen = self.final_attn_token_to_image.few_queries(tokens + prompt, image, last_places)
        return self.norm_final_attn(tokens + seen), image

    def _blocks(self) -> "tuple[TwoWayBlock, TwoWayBlock]":
        first, second = self.layers
        assert isinstance(first, TwoWayBlock)
        assert isinstance(second, TwoWayBlock)
        return first, second


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

    def update_tokens(self, tokens: Tensor, positions: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Update tokens (P, N, C) with each other and with the image's projected keys and values (1 or P, K, c)."""
        if self.is_first:  # the tokens equal their positions, so there is no residual connection
            tokens = self.norm1(self.self_attn(tokens, tokens, tokens))
        else:
            placed = tokens + positions
            tokens = self.norm1(tokens + self.self_attn(placed, placed, tokens))
        to_image = self.cross_attn_token_to_image
        tokens = self.norm2(tokens + to_image.combine(to_image.q_proj(tokens + positions), keys, values))
        updated: Tensor = self.norm3(tokens + self.mlp(tokens))
        return updated

    def image_change(self, queries: Tensor, tokens: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return two matrices whose product is the image's change by the tokens (P, N, C), without the bias.

        These are the shares (P, K, heads * N) of the vectors (P, heads * N, C). `queries` (1 or P, K, c) are those of
        the image, projected.
        """
        attention = self.cross_attn_image_to_token
        keys = attention.split(attention.k_proj(tokens + positions))  # (P, heads, N, c')
        logits = attention.split(queries) @ (keys * keys.shape[-1] ** -0.5).transpose(-1, -2)  # (P, heads, K, N)
        output = attention.out_proj.weight.T.reshape(attention.heads, -1, tokens.shape[-1])  # (heads, c', C)
        vectors = attention.split(attention.v_proj(tokens)) @ output  # (P, heads, N, C)
        return logits.softmax(-1).transpose(1, 2).flatten(2), vectors.flatten(1, 2)

    def image_projections(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the weight (C, 3c) and bias (3c) of the image's keys, values and queries, and whether each is computed
        with the positions (3c), 0 or 1.
        """
        to_image, to_tokens = self.cross_attn_token_to_image, self.cross_attn_image_to_token
        layers = to_image.k_proj, to_image.v_proj, to_tokens.q_proj
        bias = torch.cat([layer.bias for layer in layers])
        one = torch.ones_like(layers[0].bias)
        return torch.cat([layer.weight for layer in layers]).T, bias, torch.cat([one, 0 * one, one])


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
        return self.combine(self.q_proj(q), self.k_proj(k), self.v_proj(v))

    def combine(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Do the same with projected queries (P, N, c), keys and values (P, K, c)."""
        q, k, v = self.split(q), self.split(k), self.split(v)
        prompts, _, n, _ = q.shape
        if k.shape[0] == 1 and prompts > 1:  # one image for all prompts: their tokens become one long row of queries
            q = q.transpose(0, 1).flatten(1, 2)[None]  # (P, heads, N, c) -> (1, heads, P * N, c)
            y = F.scaled_dot_product_attention(q, k, v).view(self.heads, prompts, n, -1).permute(1, 2, 0, 3)
        else:
            q = q.expand(k.shape[0], -1, -1, -1)
            y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        z: Tensor = self.out_proj(y.flatten(2))  # (P, N, heads, c) -> (P, N, C)
        return z

    def few_queries(self, q: Tensor, image: Tensor, places: Tensor) -> Tensor:
        """Attend from few queries (P, N, C) to an image (P, K, C) without projecting the image.

        A product of a query with a projected key is that of the query, projected back, with the key; the shares of the
        values are added up before they are projected. The bias of the keys changes all logits of a query alike, which
        has no effect.

        Args:
            q: (P, N, C).
            image: (P, K, C).
            places: what is added to the projected keys, (1, K, c).
        """
        queries = self.split(self.q_proj(q))  # (P, heads, N, c')
        queries = queries * queries.shape[-1] ** -0.5
        keys, values = (layer.weight.view(self.heads, -1, image.shape[-1]) for layer in (self.k_proj, self.v_proj))
        logits = (queries @ keys).flatten(1, 2) @ image.transpose(1, 2)  # (P, heads * N, C) @ (P, C, K)
        logits = logits + (queries @ self.split(places).transpose(-1, -2)).flatten(1, 2)
        seen = logits.softmax(-1) @ image  # (P, heads * N, C)
        seen = seen.view(*queries.shape[:3], -1) @ values.transpose(1, 2)  # (P, heads, N, c')
        z: Tensor = self.out_proj(seen.transpose(1, 2).flatten(2) + self.v_proj.bias)
        return z

    def split(self, x: Tensor) -> Tensor:
        """Map (P, N, C) to (P, heads, N, c)."""
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)
