"""The interface between a segmenter and the networks of one model of the Segment Anything family."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from sam_model.masks.upscaling import Axis
from sam_model.sam.mask_decoder import MaskDecoder
from sam_model.sam.prompt_encoder import PromptEncoder
from sam_model.sam.sizes import DecoderSize
from sam_model.types import Image

# means and standard deviations of ImageNet's red, green and blue, times 255
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)

Features = tuple[Tensor, tuple[Tensor, ...]]  # the image embedding (B, C, grid, grid), and the decoder's further maps


class SamNetwork(nn.Module, ABC):
    """Image encoder, prompt encoder and mask decoder. They hold weights and no other state."""

    mask_threshold = 0.0
    everything_iou = 0.88  # default of `AutomaticMaskSettings.pred_iou_thresh` in the authors' code
    mask_input_limit = math.inf  # logits beyond it are cut off before they are given back as a mask input
    name: str  # in the registry
    image_encoder: nn.Module
    prompt_encoder: PromptEncoder
    mask_decoder: MaskDecoder
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, size: DecoderSize) -> None:
        super().__init__()
        self.size = size
        self.image_size = size.image_size
        # not part of a checkpoint, so on the CPU even if the rest is created on the meta device
        for name, values in (("pixel_mean", PIXEL_MEAN), ("pixel_std", PIXEL_STD)):
            self.register_buffer(name, torch.tensor(values, device="cpu")[:, None, None], persistent=False)

    @abstractmethod
    def input_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Return (height, width) of a resized image, without padding."""

    @abstractmethod
    def resize(self, image: Image, input_size: tuple[int, int] | None = None) -> Tensor:
        """Resize an RGB uint8 image (H, W, 3) to `input_size`, by default its own, (1, 3, h, w) in 0..255."""

    @abstractmethod
    def preprocess(self, pixels: Tensor) -> Tensor:
        """Normalise pixels (B, 3, h, w) in 0..255 to the encoder's input, (B, 3, image_size, image_size)."""

    @abstractmethod
    def encode(self, pixels: Tensor) -> Features:
        """Compute what the decoder reads of normalised pixels (B, 3, image_size, image_size)."""

    @abstractmethod
    def mask_axes(self, input_size: tuple[int, int], image_size: tuple[int, int]) -> tuple[Axis, Axis]:
        """Return how rows and columns of low-resolution logits become those of the original image."""
