"""SAM: image encoder, prompt encoder, mask decoder, and the normalisation of pixels.

The modules' names are the keys of the official checkpoints.

Source: SAM, arXiv:2304.02643.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_model.sam.image_encoder import ImageEncoderViT
from sam_model.sam.mask_decoder import MaskDecoder
from sam_model.sam.prompt_encoder import PromptEncoder
from sam_model.sam.sizes import SamSize, VitSize
from sam_model.sam.tiny_vit import TinyViT

# means and standard deviations of ImageNet's red, green and blue, times 255
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)


class Sam(nn.Module):
    """The networks of one model size. They hold weights and no other state."""

    mask_threshold = 0.0
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, size: SamSize) -> None:
        super().__init__()
        self.size = size
        self.image_size = size.image_size
        self.image_encoder: nn.Module = (
            ImageEncoderViT(size.encoder, size.image_size, size.width)
            if isinstance(size.encoder, VitSize)
            else TinyViT(size.encoder, size.width)
        )
        self.prompt_encoder = PromptEncoder(size)
        self.mask_decoder = MaskDecoder(size)
        # not part of a checkpoint, so on the CPU even if the rest is created on the meta device
        for name, values in (("pixel_mean", PIXEL_MEAN), ("pixel_std", PIXEL_STD)):
            self.register_buffer(name, torch.tensor(values, device="cpu")[:, None, None], persistent=False)

    def preprocess(self, pixels: Tensor) -> Tensor:
        """Normalise pixels (B, 3, h, w) in 0..255, and pad right and below with zeros to (B, 3, image_size,
        image_size).
        """
        x = (pixels - self.pixel_mean) / self.pixel_std
        return F.pad(x, (0, self.image_size - x.shape[-1], 0, self.image_size - x.shape[-2]))

    def upscale_masks(self, logits: Tensor, input_size: tuple[int, int], image_size: tuple[int, int]) -> Tensor:
        """Upscale low-resolution logits (K, h, w) to the size of the original image, (K, H, W).

        As in the official code, they are interpolated twice: to the padded square, then, without the padding, to the
        image.
        """
        x = F.interpolate(logits[None], (self.image_size, self.image_size), mode="bilinear", align_corners=False)
        x = x[..., : input_size[0], : input_size[1]]
        return F.interpolate(x, image_size, mode="bilinear", align_corners=False)[0]


def parameter_count(module: nn.Module) -> int:
    """Return the number of parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters())
