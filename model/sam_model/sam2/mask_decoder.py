"""SAM 2's mask decoder: SAM's, with maps of a higher resolution and a token for "is there an object".

If the single mask is not stable, the highest-scoring of the three masks replaces it.

Source: SAM 2, arXiv:2408.00714, appendix C; thresholds of sam2 1.1.0, build_sam.py (Apache-2.0).
"""

import torch
from torch import Tensor, nn

from sam_model.sam.layers import MLP
from sam_model.sam.mask_decoder import MASK_TOKENS, DecoderStages, MaskDecoder, masks_from_kernels
from sam_model.sam.sizes import DecoderSize
from sam_model.sam.two_way_transformer import ImageParts

STABILITY_OFFSET = 0.05  # distance of the thresholds of the stability score from 0, in logits
MIN_STABILITY = 0.98  # of the single mask


class Sam2MaskDecoder(MaskDecoder):
    """Maps embeddings to low-resolution logits (P, M, 4 * grid, 4 * grid) and predicted IoU (P, M)."""

    def __init__(self, size: DecoderSize, has_details: bool = True) -> None:
        """Create the layers; without details, as in EfficientTAM, the maps of a higher resolution are missing."""
        super().__init__(size, feed_forward=lambda width, hidden: MLP(width, hidden, width, depth=2))
        width = size.width
        self.obj_score_token = nn.Embedding(1, width)
        if has_details:
            self.conv_s0 = nn.Conv2d(width, width // 8, kernel_size=1)  # applied once per image: see `Sam2.encode`
            self.conv_s1 = nn.Conv2d(width, width // 4, kernel_size=1)
        self.pred_obj_score_head = MLP(width, width, 1)  # for videos: part of the checkpoint, but not called

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
        """As in SAM; `details` are maps in the order of `upscale`, (1, K, 4, C / 4) and (1, K, 4, 4, C / 8)."""
        if multimask:
            return super().forward(parts, details, prompt_tokens, multimask, is_best_only, min_iou, run=run)
        run = run or self
        kernels, iou, places = run.attend(parts, prompt_tokens)
        return stable_mask(run.masks(places, kernels, details), iou)

    def attend(self, parts: ImageParts, prompt_tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As in SAM."""
        own_tokens = torch.cat([self.obj_score_token.weight, self.iou_token.weight, self.mask_tokens.weight])
        tokens, places = self.transform(own_tokens, parts, prompt_tokens)
        return self.kernels(tokens[:, 2 : 2 + MASK_TOKENS]), self.iou_prediction_head(tokens[:, 1]).sigmoid(), places

    def masks(self, places: Tensor, kernels: Tensor, details: tuple[Tensor, ...]) -> Tensor:
        """As in SAM, with the details."""
        return masks_from_kernels(kernels, self.upscale(places, (details[0], details[1]) if details else None))


def stable_mask(logits: Tensor, iou: Tensor) -> tuple[Tensor, Tensor]:
    """Return one mask (P, 1, h, w) of four (P, 4, h, w), and its predicted IoU (P, 1) of (P, 4).

    It is mask 0 if that is stable, else the one of masks 1 to 3 with the highest predicted IoU.
    """
    single = logits[:, 0].flatten(1)
    inner = (single > STABILITY_OFFSET).sum(-1)
    outer = (single > -STABILITY_OFFSET).sum(-1)
    is_stable = (outer == 0) | (inner.float() / outer.clamp(min=1) >= MIN_STABILITY)  # (P,); empty masks are stable
    chosen = torch.where(is_stable, 0, 1 + iou[:, 1:].argmax(-1))
    index = torch.arange(iou.shape[0], device=iou.device)
    return logits[index, chosen][:, None], iou[index, chosen][:, None]
