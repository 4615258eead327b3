"""SAM's mask decoder: image embedding and prompt embeddings become masks and their predicted IoU.

Output token 0 gives one mask. Tokens 1 to 3 give three masks for an ambiguous prompt (whole, part, subpart).

Source: SAM, arXiv:2304.02643, appendix A and figure 14.
"""

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_model.sam.layers import MLP, LayerNorm2d
from sam_model.sam.sizes import DecoderSize
from sam_model.sam.two_way_transformer import FeedForward, ImageParts, TwoWayTransformer, mlp_block

MASK_TOKENS = 4


class MaskDecoder(nn.Module):
    """Maps embeddings to low-resolution logits (P, M, 4 * grid, 4 * grid) and predicted IoU (P, M)."""

    def __init__(self, size: DecoderSize, feed_forward: FeedForward = mlp_block) -> None:
        super().__init__()
        width = size.width
        self.transformer = TwoWayTransformer(
            width, size.decoder_depth, size.decoder_heads, size.decoder_mlp, feed_forward
        )
        self.iou_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(MASK_TOKENS, width)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(width, width // 4, kernel_size=2, stride=2),
            LayerNorm2d(width // 4),
            nn.GELU(),
            nn.ConvTranspose2d(width // 4, width // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(MLP(width, width, width // 8) for _ in range(MASK_TOKENS))
        self.iou_prediction_head = MLP(width, 256, MASK_TOKENS)

    def forward(
        self,
        parts: ImageParts,
        details: tuple[Tensor, ...],
        prompt_tokens: Tensor,
        multimask: bool,
        is_best_only: bool = False,
        min_iou: float = 0.0,
        *,
        run: "DecoderStages | None" = None,
    ) -> tuple[Tensor, Tensor]:
        """Return low-resolution logits (P, M, 4 * grid, 4 * grid) and predicted IoU (P, M); M is 3 with `multimask`,
        else 1.

        Args:
            parts: those of `prepare`, then those of `place_parts`.
            details: further maps of the image; SAM has none.
            prompt_tokens: (P, N, C).
            multimask: return three masks instead of one.
            is_best_only: of the three, compute only the mask with the highest predicted IoU; M is 1.
            min_iou: logits of prompts of which no mask has a higher predicted IoU are not computed, and 0.
            run: computes the stages; None for this module itself.
        """
        run = run or self
        kernels, iou, places = run.attend(parts, prompt_tokens)
        outputs = slice(1, MASK_TOKENS) if multimask else slice(0, 1)
        kernels, iou = kernels[:, outputs], iou[:, outputs]
        if is_best_only:
            kernels, iou = best_of(kernels, iou)
        return masks_above(run, places, kernels, details, iou, min_iou), iou

    def prepare(self, image: Tensor, image_positions: Tensor, mask_map: Tensor) -> ImageParts:
        """Compute what all prompts of an image share.

        Args:
            image: the image embedding, (1, C, grid, grid).
            image_positions: (1, C, grid, grid).
            mask_map: is added to the image, (1, C, grid, grid) or (1, C, 1, 1).
        """
        return self.transformer.prepare(
            (image + mask_map).flatten(2).transpose(1, 2),  # (1, C, grid, grid) -> (1, K, C)
            image_positions.flatten(2).transpose(1, 2),
        )

    def place_parts(self, image_positions: Tensor) -> ImageParts:
        """Compute what all images share, from their positions (1, C, grid, grid)."""
        return self.transformer.place_parts(image_positions.flatten(2).transpose(1, 2))

    def attend(self, parts: ImageParts, prompt_tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the kernels of all masks (P, 4, c), their predicted IoU (P, 4), and the image's places (P, K, C)."""
        own_tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens, places = self.transform(own_tokens, parts, prompt_tokens)
        return self.kernels(tokens[:, 1 : 1 + MASK_TOKENS]), self.iou_prediction_head(tokens[:, 0]), places

    def masks(self, places: Tensor, kernels: Tensor, details: tuple[Tensor, ...]) -> Tensor:
        """Return the logits (P, M, 4 * grid, 4 * grid) of kernels (P, M, c) on the image's places (P, K, C)."""
        return masks_from_kernels(kernels, self.upscale(places))

    def transform(self, own_tokens: Tensor, parts: ImageParts, prompt_tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Run the transformer on own tokens (T, C), prompts (P, N, C) and an image.

        Return the own tokens (P, T, C) and the image's places (P, K, C).
        """
        own = own_tokens.expand(prompt_tokens.shape[0], -1, -1)
        return self.transformer.attend(parts, torch.cat([own, prompt_tokens], dim=1), len(own_tokens))

    def kernels(self, mask_tokens: Tensor) -> Tensor:
        """Map the mask tokens (P, 4, C) to the kernels of the masks, (P, 4, C / 8)."""
        pairs = zip(self.output_hypernetworks_mlps, mask_tokens.unbind(1), strict=True)
        return torch.stack([mlp(token) for mlp, token in pairs], dim=1)

    def upscale(self, places: Tensor, details: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Upscale the image's places (P, K, C) to 16 pixels each, (P, K, 2 * 2, 2 * 2, C / 8).

        This equals `output_upscaling` on a map: a transposed convolution whose stride is its kernel size is a linear
        layer on each place separately. The channels stay last, and only the masks have to be reordered.

        Args:
            places: (P, K, C).
            details: what is added after the first and the second convolution, (1, K, 4, C / 4) and (1, K, 4, 4, C / 8).
        """
        first, norm, _, second, _ = self.output_upscaling
        assert isinstance(norm, LayerNorm2d)
        x = linear_transposed_conv(places, first)  # (P, K, 4, C / 4)
        if details is not None:
            x = x + details[0]
        x = F.gelu(F.layer_norm(x, norm.weight.shape, norm.weight, norm.bias, norm.eps))
        x = linear_transposed_conv(x, second)  # (P, K, 4, 4, C / 8)
        if details is not None:
            x = x + details[1]
        return F.gelu(x)


class DecoderStages(Protocol):
    """The two stages of a mask decoder: predicted IoU, then masks."""

    def attend(self, parts: ImageParts, prompt_tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute what `MaskDecoder.attend` does."""

    def masks(self, places: Tensor, kernels: Tensor, details: tuple[Tensor, ...]) -> Tensor:
        """Compute what `MaskDecoder.masks` does."""


def best_of(kernels: Tensor, iou: Tensor) -> tuple[Tensor, Tensor]:
    """Return the kernel (P, 1, c) and predicted IoU (P, 1) of the best mask of kernels (P, M, c) and IoU (P, M)."""
    best = iou.argmax(-1, keepdim=True)
    return kernels.gather(1, best[..., None].expand(-1, -1, kernels.shape[-1])), iou.gather(1, best)


def masks_above(
    run: DecoderStages, places: Tensor, kernels: Tensor, details: tuple[Tensor, ...], iou: Tensor, min_iou: float
) -> Tensor:
    """Return the logits (P, M, h, w) of kernels (P, M, c), or 0 for prompts with no predicted IoU above `min_iou`."""
    is_wanted = (iou > min_iou).any(-1)
    if min_iou <= 0 or bool(is_wanted.all()):
        return run.masks(places, kernels, details)
    side = 4 * math.isqrt(places.shape[1])
    logits = places.new_zeros(*kernels.shape[:2], side, side)
    if bool(is_wanted.any()):
        logits[is_wanted] = run.masks(places[is_wanted], kernels[is_wanted], details)
    return logits


def masks_from_kernels(kernels: Tensor, pixels: Tensor) -> Tensor:
    """Return the logits (P, M, 4 * grid, 4 * grid) of kernels (P, M, c) on upscaled places (P, K, 4, 4, c)."""
    grid = math.isqrt(pixels.shape[1])
    return pixels_in_place(kernels @ pixels.flatten(1, 3).transpose(1, 2), grid)  # (P, M, c) @ (P, c, K * 16)


def pixels_in_place(logits: Tensor, grid: int) -> Tensor:
    """Reorder logits (P, M, K * 4 * 4) from place, quarter, its quarter to a map (P, M, 4 * grid, 4 * grid)."""
    x = logits.view(*logits.shape[:2], grid, grid, 2, 2, 2, 2)  # y, x of the place, of the quarter, of its quarter
    return x.permute(0, 1, 2, 4, 6, 3, 5, 7).reshape(*logits.shape[:2], 4 * grid, 4 * grid)


def linear_transposed_conv(x: Tensor, conv: nn.Module) -> Tensor:
    """Map (..., inputs) to (..., 4, outputs): the four pixels, row by row, that `conv` computes from each input."""
    assert isinstance(conv, nn.ConvTranspose2d)
    assert conv.bias is not None
    kernel = conv.weight.permute(2, 3, 1, 0).flatten(0, 2)  # (inputs, outputs, 2, 2) -> (4 * outputs, inputs)
    return F.linear(x, kernel, conv.bias.repeat(4)).view(*x.shape[:-1], 4, -1)
