"""SAM 2 and EfficientTAM on images: the networks, and the size and normalisation of pixels.

Images are squashed to a square, not padded. The modules' names are the keys of the official checkpoints.

Source: SAM 2, arXiv:2408.00714; EfficientTAM, arXiv:2411.18933; sizes and rounding as in sam2 1.1.0 (Apache-2.0).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sam_model.masks.upscaling import Axis
from sam_model.sam.network import Features, SamNetwork
from sam_model.sam.prompt_encoder import PromptEncoder
from sam_model.sam2.hiera import ImageEncoder
from sam_model.sam2.mask_decoder import Sam2MaskDecoder
from sam_model.sam2.plain_vit import PlainEncoder
from sam_model.sam2.sizes import HieraSize, Sam2Size
from sam_model.types import Image


class Sam2(SamNetwork):
    """The networks of one model size."""

    mask_input_limit = 32.0
    everything_iou = 0.8

    def __init__(self, size: Sam2Size) -> None:
        super().__init__(size)
        self.name = size.name
        self.image_encoder: ImageEncoder | PlainEncoder = (
            ImageEncoder(size.encoder, size.width)
            if isinstance(size.encoder, HieraSize)
            else PlainEncoder(size.encoder, size.width)
        )
        self.sam_prompt_encoder = PromptEncoder(size, is_box_closed=True)
        self.sam_mask_decoder = Sam2MaskDecoder(size, has_details=isinstance(size.encoder, HieraSize))
        self.no_mem_embed = nn.Parameter(torch.zeros(1, 1, size.width))  # "no earlier image of a video"

    @property
    def prompt_encoder(self) -> PromptEncoder:  # type: ignore[override]  # the checkpoints have another name for it
        """The prompt encoder."""
        return self.sam_prompt_encoder

    @property
    def mask_decoder(self) -> Sam2MaskDecoder:  # type: ignore[override]  # the same
        """The mask decoder."""
        return self.sam_mask_decoder

    def input_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Return (image_size, image_size) for each image."""
        return self.image_size, self.image_size

    def resize(self, image: Image, input_size: tuple[int, int] | None = None) -> Tensor:
        """Squash an image (H, W, 3) to a square, (1, 3, image_size, image_size) in 0..255, with antialiasing.

        All images have the same input size, so `input_size` changes nothing. The channels are resized one by one: all
        of a large image in float32 would take three times the memory.
        """
        side = self.image_size
        if image.shape[:2] == (side, side):
            return torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
        channels = (torch.from_numpy(image[..., channel].astype("float32"))[None, None] for channel in range(3))
        resized = [F.interpolate(x, (side, side), mode="bilinear", antialias=True) for x in channels]
        return torch.cat(resized, dim=1)

    def preprocess(self, pixels: Tensor) -> Tensor:
        """Normalise pixels (B, 3, image_size, image_size) in 0..255."""
        return (pixels - self.pixel_mean) / self.pixel_std

    def encode(self, pixels: Tensor) -> Features:
        """Compute the image embedding (B, C, grid, grid), and with Hiera maps of twice and four times its resolution.

        They have the order that the mask decoder reads: place, quarter of it, quarter of that.
        """
        if isinstance(self.image_encoder, PlainEncoder):
            return self._without_memory(self.image_encoder(pixels)), ()
        first, second, third, fourth = self.image_encoder(pixels)  # (B, H, W, channels) each
        conv_1, conv_2, conv_3, conv_4 = self.image_encoder.neck.laterals()
        coarse = project(fourth, conv_4).permute(0, 3, 1, 2)  # (B, C, grid / 2, grid / 2)
        features = project(third, conv_3).permute(0, 3, 1, 2) + F.interpolate(coarse, scale_factor=2.0)
        half = project(second, conv_2, self.sam_mask_decoder.conv_s1)
        quarter = project(first, conv_1, self.sam_mask_decoder.conv_s0)
        return self._without_memory(features), (by_place(half, 1), by_place(quarter, 2))

    def _without_memory(self, features: Tensor) -> Tensor:
        """Add "no earlier image" to image embeddings (B, C, grid, grid)."""
        return (features + self.no_mem_embed.to(features.dtype).view(1, -1, 1, 1)).contiguous()

    def mask_axes(self, input_size: tuple[int, int], image_size: tuple[int, int]) -> tuple[Axis, Axis]:
        """Return how rows and columns of low-resolution logits become those of the original image, in one step."""
        low_res = self.size.low_res
        rows, columns = (Axis(low_res, low_res, 0, low_res, full) for full in image_size)
        return rows, columns


def project(x: Tensor, *convs: nn.Conv2d) -> Tensor:
    """Apply convolutions of kernel size 1 to a map (B, H, W, C), as one: (B, H, W, outputs)."""
    weight, bias = None, None
    for conv in convs:
        assert conv.bias is not None
        kernel = conv.weight.flatten(1)  # (outputs, inputs)
        weight = kernel if weight is None else kernel @ weight
        bias = conv.bias if bias is None else kernel @ bias + conv.bias
    assert weight is not None
    return F.linear(x, weight, bias)


def by_place(x: Tensor, levels: int) -> Tensor:
    """Reorder a map (B, 2^n * grid, 2^n * grid, C) to (B, grid * grid, 4, C) for n = 1, (B, grid * grid, 4, 4, C) for
    n = 2: the pixels of a place side by side, as `MaskDecoder.upscale` has them.
    """
    grid, channels = x.shape[1] >> levels, x.shape[-1]
    split = x.view(-1, grid, *[2] * levels, grid, *[2] * levels, channels)
    rows, columns = range(1, levels + 2), range(levels + 2, 2 * levels + 3)
    order = [axis for pair in zip(rows, columns, strict=True) for axis in pair]
    return split.permute(0, *order, 2 * levels + 3).reshape(-1, grid * grid, *[4] * levels, channels)
