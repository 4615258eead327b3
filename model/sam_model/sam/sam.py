"""SAM and MobileSAM: image encoder, prompt encoder, mask decoder, and the size and normalisation of pixels.

The modules' names are the keys of the official checkpoints.

Source: SAM, arXiv:2304.02643; sizes and rounding as in segment-anything 1.0 (Apache-2.0).
"""

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_model.masks.upscaling import Axis
from sam_model.sam.image_encoder import ImageEncoderViT
from sam_model.sam.mask_decoder import MaskDecoder
from sam_model.sam.network import Features, SamNetwork
from sam_model.sam.prompt_encoder import PromptEncoder
from sam_model.sam.sizes import SamSize, VitSize
from sam_model.sam.tiny_vit import TinyViT
from sam_model.types import Image


class Sam(SamNetwork):
    """The networks of one model size."""

    def __init__(self, size: SamSize) -> None:
        super().__init__(size)
        self.name = size.name
        self.image_encoder: nn.Module = (
            ImageEncoderViT(size.encoder, size.image_size, size.width)
            if isinstance(size.encoder, VitSize)
            else TinyViT(size.encoder, size.width)
        )
        self.prompt_encoder = PromptEncoder(size)
        self.mask_decoder = MaskDecoder(size)

    def input_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Return (height, width) of the resized image: its longer side becomes `self.image_size`."""
        return encoder_size(image_size, self.image_size)

    def resize(self, image: Image, input_size: tuple[int, int] | None = None) -> Tensor:
        """Resize an image (H, W, 3) to `input_size`, by default its own, (1, 3, h, w) in 0..255."""
        size = input_size or self.input_size((image.shape[0], image.shape[1]))
        return torch.from_numpy(resize_for_encoder(image, size)).permute(2, 0, 1)[None]

    def preprocess(self, pixels: Tensor) -> Tensor:
        """Normalise pixels (B, 3, h, w) in 0..255, and pad right and below with zeros to (B, 3, image_size,
        image_size).
        """
        x = (pixels - self.pixel_mean) / self.pixel_std
        return F.pad(x, (0, self.image_size - x.shape[-1], 0, self.image_size - x.shape[-2]))

    def encode(self, pixels: Tensor) -> Features:
        """Compute the image embedding (B, C, grid, grid) of normalised pixels; there are no further maps."""
        return self.image_encoder(pixels), ()

    def mask_axes(self, input_size: tuple[int, int], image_size: tuple[int, int]) -> tuple[Axis, Axis]:
        """Return how rows and columns of low-resolution logits become those of the original image.

        As in the official code, they are interpolated twice: to the padded square, then, without the padding, to the
        image.
        """
        rows, columns = (
            Axis(self.size.low_res, self.image_size, 0, inner, full)
            for inner, full in zip(input_size, image_size, strict=True)
        )
        return rows, columns


def encoder_size(image_size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """Return (height, width) of an image scaled to `long_side`, rounded half up, at least one pixel."""
    scale = long_side / max(image_size)
    height, width = (max(1, int(side * scale + 0.5)) for side in image_size)
    return height, width


def resize_for_encoder(image: Image, size: tuple[int, int]) -> Image:
    """Resize an image to (height, width).

    Pillow is used, whose bilinear filter widens when it shrinks an image, as in training; OpenCV's does not.
    """
    height, width = size
    return np.array(PIL.Image.fromarray(image).resize((width, height), PIL.Image.Resampling.BILINEAR))


def parameter_count(module: nn.Module) -> int:
    """Return the number of parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters())
