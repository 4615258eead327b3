"""HQ-SAM and Light HQ-SAM: SAM with a mask decoder that adds the details of an early layer of the image encoder.

The modules' names are the keys of the official checkpoints.

Source: Segment Anything in High Quality, arXiv:2306.01567, section 3.2; segment-anything-hq 0.3 (Apache-2.0).
"""

import math

import torch
from torch import Tensor, nn

from sam_model.sam.image_encoder import ImageEncoderViT
from sam_model.sam.layers import MLP, LayerNorm2d
from sam_model.sam.mask_decoder import (
    MASK_TOKENS,
    DecoderStages,
    MaskDecoder,
    best_of,
    masks_above,
    masks_from_kernels,
    pixels_in_place,
)
from sam_model.sam.network import Features
from sam_model.sam.sam import Sam
from sam_model.sam.sizes import HqSamSize
from sam_model.sam.tiny_vit import TinyViT
from sam_model.sam.two_way_transformer import ImageParts


class HqSam(Sam):
    """The networks of one model size."""

    def __init__(self, size: HqSamSize) -> None:
        super().__init__(size)
        self.mask_decoder: HqMaskDecoder = HqMaskDecoder(size)

    def encode(self, pixels: Tensor) -> Features:
        """Compute the image embedding (B, C, grid, grid) and the details (B, C / 8, 4 * grid, 4 * grid)."""
        assert isinstance(self.image_encoder, ImageEncoderViT | TinyViT)
        image, early = self.image_encoder.with_early_map(pixels)
        return image, (self.mask_decoder.fused_details(image, early.permute(0, 3, 1, 2)),)


class HqMaskDecoder(MaskDecoder):
    """Maps embeddings to low-resolution logits (P, 1, 4 * grid, 4 * grid) and predicted IoU (P, 1).

    The logits are the sum of SAM's and those of a further token, which reads the details.
    """

    def __init__(self, size: HqSamSize) -> None:
        super().__init__(size)
        width = size.width
        self.hf_token = nn.Embedding(1, width)
        self.hf_mlp = MLP(width, width, width // 8)
        self.compress_vit_feat = nn.Sequential(
            nn.ConvTranspose2d(size.encoder.early_width, width, kernel_size=2, stride=2),
            LayerNorm2d(width),
            nn.GELU(),
            nn.ConvTranspose2d(width, width // 8, kernel_size=2, stride=2),
        )
        self.embedding_encoder = nn.Sequential(
            nn.ConvTranspose2d(width, width // 4, kernel_size=2, stride=2),
            LayerNorm2d(width // 4),
            nn.GELU(),
            nn.ConvTranspose2d(width // 4, width // 8, kernel_size=2, stride=2),
        )
        self.embedding_maskfeature = nn.Sequential(
            nn.Conv2d(width // 8, width // 4, kernel_size=3, padding=1),
            LayerNorm2d(width // 4),
            nn.GELU(),
            nn.Conv2d(width // 4, width // 8, kernel_size=3, padding=1),
        )

    def fused_details(self, image: Tensor, early: Tensor) -> Tensor:
        """Return the details (1, C / 8, 4 * grid, 4 * grid) of an image, which are the same for all its prompts.

        Args:
            image: the image embedding, (1, C, grid, grid).
            early: map of an early layer, (1, early_width, grid, grid).
        """
        details: Tensor = self.embedding_encoder(image) + self.compress_vit_feat(early)
        return details

    def forward(
        self,
        parts: ImageParts,
        details: tuple[Tensor, ...],
        prompt_tokens: Tensor,
        multimask: bool,
        is_best_only: bool = False,
        min_iou: float = 0.0,
        *,
        run: DecoderStages | None = None,
    ) -> tuple[Tensor, Tensor]:
        """As in SAM, but with one mask per prompt: `multimask` chooses the best of SAM's three masks instead of its
        single one, to which the mask of the details is added.
        """
        run = run or self
        kernels, iou, places = run.attend(parts, prompt_tokens)
        kernels, iou = best_of(kernels[:, 1:], iou[:, 1:]) if multimask else (kernels[:, :1], iou[:, :1])
        return masks_above(run, places, kernels, details, iou, min_iou), iou

    def attend(self, parts: ImageParts, prompt_tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As in SAM; a kernel is SAM's and the one of the details, side by side: (P, 4, C / 4)."""
        own_tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight, self.hf_token.weight])
        tokens, places = self.transform(own_tokens, parts, prompt_tokens)
        kernels = self.kernels(tokens[:, 1 : 1 + MASK_TOKENS])  # (P, 4, C / 8)
        detail_kernel = self.hf_mlp(tokens[:, 1 + MASK_TOKENS])[:, None].expand(-1, MASK_TOKENS, -1)
        return torch.cat([kernels, detail_kernel], dim=-1), self.iou_prediction_head(tokens[:, 0]), places

    def masks(self, places: Tensor, kernels: Tensor, details: tuple[Tensor, ...]) -> Tensor:
        """As in SAM; the masks of the details are added."""
        pixels, grid = self.upscale(places), math.isqrt(places.shape[1])  # (P, K, 4, 4, C / 8)
        own, detailed = kernels.chunk(2, dim=-1)
        refined = self.embedding_maskfeature(pixels_in_place(pixels.flatten(1, 3).transpose(1, 2), grid)) + details[0]
        single = masks_from_kernels(own, pixels)
        logits: Tensor = single + (detailed @ refined.flatten(2)).view(single.shape)
        return logits
