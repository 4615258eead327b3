"""Masks of all sizes from seeded weights, whose own masks are noise over the whole image."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


def add_blobs(module: torch.nn.Module, args: Any, kwargs: Any, output: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Add hills of height 6 to the logits (P, M, h, w), placed by the prompt's first token.

    A forward hook of mask decoders.
    """
    logits, iou = output
    token = kwargs.get("sparse_prompt_embeddings", args[2] if args else None)[:, 0]  # (P, C)
    y, x = torch.meshgrid(*(torch.linspace(0, 1, side) for side in logits.shape[-2:]), indexing="ij")
    centre = 0.35 + 0.3 * torch.sin(7 * token[:, :2])[..., None, None, None]  # (P, 2, 1, 1, 1)
    radius = 0.04 + 0.25 * torch.sin(5 * token[:, 2 : 2 + logits.shape[1]])[..., None, None] ** 2  # (P, M, 1, 1)
    distance = torch.hypot(x - centre[:, 0], y - centre[:, 1])
    return 0.3 * logits + (6 * (1 - distance / radius)).clamp(min=-6), iou


@contextmanager
def blobs(*decoders: torch.nn.Module) -> Iterator[None]:
    """Register the hook on both mask decoders."""
    hooks = [decoder.register_forward_hook(add_blobs, with_kwargs=True) for decoder in decoders]
    yield
    for hook in hooks:
        hook.remove()
