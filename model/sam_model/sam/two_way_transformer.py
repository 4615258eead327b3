"""The transformer of SAM's mask decoder: attention from tokens to the image and from the image to the tokens.

The result is that of the official code, in another order. What depends on the image alone is computed once per image
(`prepare`), and what depends on its positions alone once per model (`place_parts`). The change of a place of the image
by N tokens is a sum of N vectors per attention head, so the projections of the changed image are those of these vectors
and of the unchanged image (`ChangedImage`). The layer norm in between is applied after the projection: an image and
vectors whose mean over the channels is 0 leave only one number per place to divide by.

Source: SAM, arXiv:2304.02643, appendix A and figure 14.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

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
    """Attention in both directions between tokens (P, N, C) and an image of K places (1, K, C)."""

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
            image: (1, K, C).
            image_positions: (1, K, C).
            prompt: (P, N, C), the initial tokens, which are also their positional encoding.
        """
        parts = (*self.prepare(image, image_positions), *self.place_parts(image_positions))
        return self.attend(parts, prompt, prompt.shape[1])

    def prepare(self, image: Tensor, image_positions: Tensor) -> ImageParts:
        """Compute what depends on the image (1, K, C), but not on the tokens.

        Return the keys (1, heads, c, K), values (1, heads, K, c) and queries (1, heads, c, K) of the first block, the
        image to which its change is added, less the mean over the channels (1, K, C), and the keys, values and queries
        of that image in the second block.
        """
        first, second = self._blocks()
        placed = image + image_positions
        start = image + first.cross_attn_image_to_token.out_proj.bias
        start = start - start.mean(-1, keepdim=True)
        scaled = start * first.norm4.weight
        to_image, to_tokens = second.cross_attn_token_to_image, second.cross_attn_image_to_token
        return (
            first.cross_attn_token_to_image.columns(first.cross_attn_token_to_image.k_proj(placed)),
            first.cross_attn_token_to_image.split(first.cross_attn_token_to_image.v_proj(image)).contiguous(),
            first.cross_attn_image_to_token.columns(first.cross_attn_image_to_token.q_proj(placed)),
            start,
            to_image.columns(F.linear(scaled, to_image.k_proj.weight)),
            to_image.split(F.linear(scaled, to_image.v_proj.weight)).contiguous(),
            to_tokens.columns(F.linear(scaled, to_tokens.q_proj.weight)),
        )

    def place_parts(self, image_positions: Tensor) -> ImageParts:
        """Compute what depends on the positions (1, K, C) alone.

        Return what is added to the keys of the second block, to its queries, and to the keys of the last attention,
        each (1, heads, c, K). What is the same for all keys has no effect and is left out.
        """
        first, second = self._blocks()
        to_image, to_tokens = second.cross_attn_token_to_image, second.cross_attn_image_to_token
        last = self.final_attn_token_to_image
        return (
            to_image.columns(F.linear(image_positions, to_image.k_proj.weight)),
            to_tokens.columns(to_tokens.q_proj(image_positions + first.norm4.bias)),
            last.columns(F.linear(image_positions, last.k_proj.weight)),
        )

    def attend(self, parts: ImageParts, prompt: Tensor, wanted: int) -> tuple[Tensor, Tensor]:
        """Return the first updated tokens (P, wanted, C) and the updated image (P, K, C).

        Args:
            parts: those of `prepare`, then those of `place_parts`.
            prompt: as in `forward`.
            wanted: number of tokens of which the update is needed.
        """
        keys, values, queries, start, next_keys, next_values, next_queries, *places = parts
        key_places, query_places, last_places = places
        first, second = self._blocks()

        to_image, to_tokens = first.cross_attn_token_to_image, first.cross_attn_image_to_token
        tokens = first.mix(prompt, prompt)
        logits = to_image.scaled(to_image.q_proj(tokens + prompt)) @ keys  # (P, heads, N, K)
        tokens = first.update(tokens, to_image.join(attended(logits, values)))
        logits = to_tokens.scaled(to_tokens.k_proj(tokens + prompt)) @ queries
        shares, vectors = logits.softmax(2).flatten(1, 2), to_tokens.vectors(tokens)
        vectors = vectors - vectors.mean(-1, keepdim=True)
        changed = start + shares.transpose(1, 2) @ vectors  # (P, K, C); the mean over the channels is 0
        deviation = torch.linalg.vector_norm(changed, dim=-1) / math.sqrt(changed.shape[-1])  # (P, K)
        scale = (deviation * deviation + first.norm4.eps).rsqrt()
        image = ChangedImage(shares, vectors * first.norm4.weight, scale[:, None, None])

        to_image, to_tokens = second.cross_attn_token_to_image, second.cross_attn_image_to_token
        tokens = second.mix(tokens, prompt)
        asked = to_image.scaled(to_image.q_proj(tokens + prompt))
        logits = image.logits(asked, to_image.k_proj.weight, next_keys) + asked @ key_places
        seen = image.sums(logits.softmax(-1), to_image.v_proj.weight, next_values)
        tokens = second.update(tokens, to_image.join(seen, to_image.v_proj(first.norm4.bias)))
        asked = to_tokens.scaled(to_tokens.k_proj(tokens + prompt))
        logits = image.logits(asked, to_tokens.q_proj.weight, next_queries) + asked @ query_places
        shares, vectors = logits.softmax(2).flatten(1, 2), to_tokens.vectors(tokens)
        normed = changed * scale[..., None] * first.norm4.weight + (first.norm4.bias + to_tokens.out_proj.bias)
        updated = second.norm4(normed + shares.transpose(1, 2) @ vectors)

        tokens, prompt = tokens[:, :wanted], prompt[:, :wanted]
        seen = self.final_attn_token_to_image.few_queries(tokens + prompt, updated, last_places)
        return self.norm_final_attn(tokens + seen), updated

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

    def mix(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Update tokens (P, N, C) with each other."""
        if self.is_first:  # the tokens equal their positions, so there is no residual connection
            mixed: Tensor = self.norm1(self.self_attn(tokens, tokens, tokens))
        else:
            placed = tokens + positions
            mixed = self.norm1(tokens + self.self_attn(placed, placed, tokens))
        return mixed

    def update(self, tokens: Tensor, seen: Tensor) -> Tensor:
        """Update tokens (P, N, C) with what they see of the image (P, N, C)."""
        tokens = self.norm2(tokens + seen)
        updated: Tensor = self.norm3(tokens + self.mlp(tokens))
        return updated


@dataclass(frozen=True)
class ChangedImage:
    """An image (P, K, C) that is `scale * (start + shares.T @ vectors)`, of which only projections are computed.

    The projections of `start`, (1, heads, c, K) or (1, heads, K, c), are given.
    """

    shares: Tensor  # (P, R, K)
    vectors: Tensor  # (P, R, C)
    scale: Tensor  # (P, 1, 1, K)

    def logits(self, queries: Tensor, weight: Tensor, start: Tensor) -> Tensor:
        """Return the products (P, heads, N, K) of queries (P, heads, N, c) and projected places.

        Args:
            queries: (P, heads, N, c).
            weight: of the projection, (heads * c, C).
            start: projected, (1, heads, c, K).
        """
        products = queries @ self._projected(weight, queries.shape[1]).transpose(-1, -2)  # (P, heads, N, R)
        change = (products.flatten(1, 2) @ self.shares).view(*queries.shape[:-1], self.shares.shape[-1])
        return (queries @ start + change) * self.scale

    def sums(self, weights: Tensor, weight: Tensor, start: Tensor) -> Tensor:
        """Return the sums (P, heads, N, c) of projected places, with weights (P, heads, N, K).

        Args:
            weights: (P, heads, N, K).
            weight: of the projection, (heads * c, C).
            start: projected, (1, heads, K, c).
        """
        weights = weights * self.scale
        products = weights.flatten(1, 2) @ self.shares.transpose(1, 2)  # (P, heads * N, R)
        change = products.view(*weights.shape[:-1], -1) @ self._projected(weight, weights.shape[1])
        return weights @ start + change

    def _projected(self, weight: Tensor, heads: int) -> Tensor:
        """Return the projected vectors (P, heads, R, c)."""
        return split_heads(self.vectors @ weight.T, heads)


class Attention(nn.Module):
    """Multi-head attention, with fewer channels than its inputs if `downsample` > 1.

    Shape: queries (P, N, C), keys and values (P, K, C) to (P, N, C).
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
        q, k, v = self.split(self.q_proj(q)), self.split(self.k_proj(k)), self.split(self.v_proj(v))
        return self.join(F.scaled_dot_product_attention(q, k, v))

    def split(self, x: Tensor) -> Tensor:
        """Map (P, N, c) to (P, heads, N, c / heads)."""
        return split_heads(x, self.heads)

    def scaled(self, x: Tensor) -> Tensor:
        """Map queries, or keys, (P, N, c) to (P, heads, N, c / heads), scaled for the products with the others."""
        parts = self.split(x)
        return parts / math.sqrt(parts.shape[-1])

    def columns(self, x: Tensor) -> Tensor:
        """Map (1, K, c) to (1, heads, c / heads, K)."""
        return x.transpose(1, 2).reshape(x.shape[0], self.heads, -1, x.shape[1])

    def join(self, seen: Tensor, constant: Tensor | float = 0.0) -> Tensor:
        """Map what the heads see, (P, heads, N, c / heads), and what is added to all of it (c), to (P, N, C)."""
        z: Tensor = self.out_proj(seen.transpose(1, 2).flatten(2) + constant)
        return z

    def vectors(self, tokens: Tensor) -> Tensor:
        """Return what a place receives that attends to one token with one head, without the bias of the output.

        Tokens (P, N, C) to (P, heads * N, C).
        """
        output = self.out_proj.weight.T.reshape(self.heads, -1, tokens.shape[-1])  # (heads, c, C)
        vectors = self.split(self.v_proj(tokens)) @ output  # (P, heads, N, C)
        return vectors.flatten(1, 2)

    def few_queries(self, q: Tensor, image: Tensor, places: Tensor) -> Tensor:
        """Attend from few queries (P, N, C) to an image (P, K, C) without projecting the image.

        A product of a query with a projected key is that of the query, projected back, with the key; the shares of the
        values are added up before they are projected. The bias of the keys changes all logits of a query alike, which
        has no effect.

        Args:
            q: (P, N, C).
            image: (P, K, C).
            places: what is added to the projected keys, (1, heads, c, K).
        """
        queries = self.scaled(self.q_proj(q))  # (P, heads, N, c)
        keys, values = (layer.weight.view(self.heads, -1, image.shape[-1]) for layer in (self.k_proj, self.v_proj))
        logits = (queries @ keys).flatten(1, 2) @ image.transpose(1, 2)  # (P, heads * N, C) @ (P, C, K)
        logits = logits.view(*queries.shape[:-1], -1) + queries @ places
        seen = logits.softmax(-1).flatten(1, 2) @ image  # (P, heads * N, C)
        return self.join(seen.view(*queries.shape[:-1], -1) @ values.transpose(1, 2), self.v_proj.bias)


def attended(logits: Tensor, values: Tensor) -> Tensor:
    """Return the softmax of logits (P, heads, N, K) times values (1, heads, K, c), (P, heads, N, c).

    The product comes before the division: OpenVINO would make one step of a softmax between two products, which takes
    three times as long.
    """
    weights = (logits - logits.amax(-1, keepdim=True)).exp()
    return weights @ values / weights.sum(-1, keepdim=True)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Map (P, N, c) to (P, heads, N, c / heads)."""
    return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)
