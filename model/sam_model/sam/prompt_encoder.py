"""SAM's prompt encoder: points, boxes and masks become embeddings.

It always runs in float32, because rounded coordinates would move the points; the time is negligible beside the decoder.

Source: SAM, arXiv:2304.02643, appendix A; positions by random Fourier features, arXiv:2006.10739.
"""

import math

import torch
from torch import Tensor, nn

from sam_model.sam.layers import LayerNorm2d
from sam_model.sam.sizes import DecoderSize

HALF_PIXEL = 0.5  # the encoder takes a coordinate as a pixel index and uses the pixel's centre


class PromptEncoder(nn.Module):
    """Points and boxes become tokens; a mask becomes a map that is added to the image embedding.

    Coordinates are pixels of the padded square of side `image_size`.
    """

    def __init__(self, size: DecoderSize, is_box_closed: bool = False) -> None:
        """Create the layers.

        Args:
            size: sizes of the model.
            is_box_closed: boxes get the further token of points, as in SAM 2.
        """
        super().__init__()
        self.is_box_closed = is_box_closed
        self.image_size = size.image_size
        self.grid = size.grid
        self.pe_layer = FourierPositions(size.width)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, size.width) for _ in range(4))  # see `_kinds`
        self.not_a_point_embed = nn.Embedding(1, size.width)
        self.no_mask_embed = nn.Embedding(1, size.width)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, 4, kernel_size=2, stride=2),
            LayerNorm2d(4),
            nn.GELU(),
            nn.Conv2d(4, 16, kernel_size=2, stride=2),
            LayerNorm2d(16),
            nn.GELU(),
            nn.Conv2d(16, size.width, kernel_size=1),
        )

    def tokens(self, prompts: int, points: Tensor | None, labels: Tensor | None, boxes: Tensor | None) -> Tensor:
        """Map points (P, N, 2) with labels (P, N), 1 on and 0 off the object, and boxes (P, 4) to tokens (P, N', C).

        Points without a box get a further token, as in training; in SAM 2 all points and boxes do.
        """
        parts = [self.no_mask_embed.weight.new_empty(prompts, 0, self.no_mask_embed.embedding_dim)]
        if points is not None and labels is not None:
            parts.append(self._points(points, labels))
        if boxes is not None:
            parts.append(self._corners(boxes))
        is_prompted = points is not None or boxes is not None
        if is_prompted and (boxes is None or self.is_box_closed):
            parts.append(self.not_a_point_embed.weight.expand(prompts, 1, -1))
        return torch.cat(parts, dim=1)

    def mask_map(self, masks: Tensor | None) -> Tensor:
        """Map low-resolution logits (P, 1, 4 * grid, 4 * grid) to (P, C, grid, grid); without masks return (1, C, 1,
        1).
        """
        if masks is None:
            return self.no_mask_embed.weight[:, :, None, None]
        y: Tensor = self.mask_downscaling(masks)
        return y

    def dense_positions(self) -> Tensor:
        """Return the position encoding of the image embedding, (1, C, grid, grid)."""
        centres = (torch.arange(self.grid, device=self.no_mask_embed.weight.device) + 0.5) / self.grid
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        code: Tensor = self.pe_layer(torch.stack([x, y], dim=-1))
        return code.permute(2, 0, 1)[None]

    def _points(self, points: Tensor, labels: Tensor) -> Tensor:
        return self._places(points) + self._kinds()[labels.long()]

    def _corners(self, boxes: Tensor) -> Tensor:
        return self._places(boxes.view(-1, 2, 2)) + self._kinds()[2:]

    def _kinds(self) -> Tensor:
        """Return what is added to a point off the object, a point on it, and a box's two corners, (4, C)."""
        return torch.cat([kind.get_parameter("weight") for kind in self.point_embeddings])

    def _places(self, pixels: Tensor) -> Tensor:
        code: Tensor = self.pe_layer((pixels + HALF_PIXEL) / self.image_size)
        return code


class FourierPositions(nn.Module):
    """Sines and cosines of random projections: (..., 2) in 0..1 to (..., C)."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        # the values come from the checkpoint, so none are drawn here
        self.register_buffer("positional_encoding_gaussian_matrix", torch.zeros(2, width // 2))

    def forward(self, places: Tensor) -> Tensor:
        """Encode `places` (..., 2), x before y, as shares of the image's side."""
        angles = 2 * math.pi * ((2 * places - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)
