"""SAM 3's tracker and EdgeTAM on images: networks of transformers behind the interface of the Segment Anything family.

Prompts, everything mode and stored embeddings are then those of `sam_model.sam.segmenter`.

Sources: SAM 3, arXiv:2511.16719; EdgeTAM, arXiv:2501.07256; the models `sam3_tracker` and `edgetam` of transformers
(Apache-2.0).
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from sam_model.masks.upscaling import Axis
from sam_model.sam.mask_decoder import MaskDecoder
from sam_model.sam.network import Features, SamNetwork
from sam_model.sam.prompt_encoder import PromptEncoder
from sam_model.sam.sizes import DecoderSize
from sam_model.sam.two_way_transformer import ImageParts
from sam_model.transformers_models.model_folder import load_model
from sam_model.transformers_models.square_images import PixelStatistics, pixel_statistics, squashed
from sam_model.types import Image
from sam_model.weights.errors import BrokenWeightsError

CLASSES = {  # by model_type; the published folders are those of the models for videos
    "edgetam": "EdgeTamModel",
    "edgetam_video": "EdgeTamModel",
    "sam3_tracker": "Sam3TrackerModel",
    "sam3_tracker_video": "Sam3TrackerModel",
    "sam3_video": "Sam3TrackerModel",
}


@dataclass(frozen=True)
class PatchedSize(DecoderSize):
    """Sizes of a decoder whose grid is that of an image encoder's patches."""

    patch: int

    @property
    def grid(self) -> int:
        """Side of the image embedding, in tokens."""
        return self.image_size // self.patch


class PromptedNetwork(SamNetwork):
    """A model of transformers as a `SamNetwork`."""

    mask_input_limit = 32.0  # as in SAM 2
    everything_iou = 0.8

    def __init__(self, model: Any, name: str, statistics: PixelStatistics) -> None:
        """Take a model with its weights.

        Args:
            model: a `Sam3TrackerModel` or an `EdgeTamModel`.
            name: of the model.
            statistics: of the pixels.
        """
        prompts = model.config.prompt_encoder_config
        super().__init__(
            PatchedSize(image_size=prompts.image_size, width=prompts.hidden_size, patch=prompts.patch_size)
        )
        self.name = name
        self.model = model
        for buffer, values in (("pixel_mean", statistics.mean), ("pixel_std", statistics.std)):
            self.register_buffer(buffer, 255 * torch.tensor(values)[:, None, None], persistent=False)

    @property
    def image_encoder(self) -> nn.Module:  # type: ignore[override]  # it is a part of the model
        """The image encoder."""
        return cast(nn.Module, self.model.vision_encoder)

    @property
    def prompt_encoder(self) -> PromptEncoder:  # type: ignore[override]  # the same
        """The prompt encoder, with the methods of SAM's that a segmenter calls."""
        return cast(PromptEncoder, _Prompts(self.model))

    @property
    def mask_decoder(self) -> MaskDecoder:  # type: ignore[override]  # the same
        """The mask decoder, called as SAM's."""
        return cast(MaskDecoder, _Masks(self.model.mask_decoder))

    def input_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Return (image_size, image_size) for each image."""
        return self.image_size, self.image_size

    def resize(self, image: Image, input_size: tuple[int, int] | None = None) -> Tensor:
        """Squash an image (H, W, 3) to a square, (1, 3, image_size, image_size) in 0..255."""
        return squashed(image, self.image_size)

    def preprocess(self, pixels: Tensor) -> Tensor:
        """Normalise pixels (B, 3, image_size, image_size) in 0..255."""
        return (pixels - self.pixel_mean) / self.pixel_std

    def encode(self, pixels: Tensor) -> Features:
        """Compute the image embedding (1, C, grid, grid), and maps of four times and twice its resolution."""
        quarter, half, features = self.model.get_image_embeddings(pixels)
        return features.to(pixels.dtype).contiguous(), (quarter.contiguous(), half.contiguous())

    def mask_axes(self, input_size: tuple[int, int], image_size: tuple[int, int]) -> tuple[Axis, Axis]:
        """Return how rows and columns of low-resolution logits become those of the original image, in one step."""
        low_res = self.size.low_res
        rows, columns = (Axis(low_res, low_res, 0, low_res, full) for full in image_size)
        return rows, columns


class _Prompts:
    """The prompt encoder of a model; see `sam_model.sam.prompt_encoder.PromptEncoder`. It is in float32."""

    def __init__(self, model: Any) -> None:
        self._model, self._encoder = model, model.prompt_encoder

    def tokens(self, prompts: int, points: Tensor | None, labels: Tensor | None, boxes: Tensor | None) -> Tensor:
        """Map points (P, N, 2) with labels (P, N) and boxes (P, 4) to tokens (P, N', C)."""
        if points is None and boxes is None:  # as `forward` of the model does: a point that is none
            weight = self._encoder.no_mask_embed.weight
            points, labels = weight.new_zeros(prompts, 1, 2), -weight.new_ones(prompts, 1)
        tokens, _ = self._encoder(
            input_points=None if points is None else points[None],
            input_labels=None if labels is None else labels.long()[None],
            input_boxes=None if boxes is None else boxes[None],
            input_masks=None,
        )
        found: Tensor = tokens[0]
        return found

    def mask_map(self, masks: Tensor | None) -> Tensor:
        """Map low-resolution logits (P, 1, h, w) to (P, C, grid, grid); without masks return (1, C, 1, 1)."""
        if masks is None:
            found: Tensor = self._encoder.no_mask_embed.weight[:, :, None, None]
        else:
            found = self._encoder.mask_embed(masks)
        return found

    def dense_positions(self) -> Tensor:
        """Return the position encoding of the image embedding, (1, C, grid, grid)."""
        positions: Tensor = self._model.get_image_wide_positional_embeddings()
        return positions


class _Masks:
    """The mask decoder of a model; see `sam_model.sam.mask_decoder.MaskDecoder`."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder

    def to(self, dtype: torch.dtype) -> None:
        """Change the precision."""
        self._decoder.to(dtype)

    def prepare(self, image: Tensor, image_positions: Tensor, mask_map: Tensor) -> ImageParts:
        """Return what changes with the image: transformers has no stage that prompts share."""
        return image, mask_map

    def place_parts(self, image_positions: Tensor) -> ImageParts:
        """Return what all images share: their positions (1, C, grid, grid)."""
        return (image_positions,)

    def __call__(
        self,
        parts: ImageParts,
        details: tuple[Tensor, ...],
        prompt_tokens: Tensor,
        multimask: bool,
        is_best_only: bool = False,
        min_iou: float = 0.0,
    ) -> tuple[Tensor, Tensor]:
        """Return the logits (P, M, h, w) and predicted IoU (P, M) of P prompts; all masks are computed."""
        image, mask_map, image_positions = parts
        images = len(mask_map)  # prompts with masks of their own are prompts of images of their own
        logits, iou, _, _ = self._decoder(
            image_embeddings=image.expand(images, -1, -1, -1),
            image_positional_embeddings=image_positions.expand(images, -1, -1, -1),
            sparse_prompt_embeddings=prompt_tokens[None] if images == 1 else prompt_tokens[:, None],
            dense_prompt_embeddings=mask_map,
            multimask_output=multimask,
            high_resolution_features=list(details),
        )
        logits, iou = logits.flatten(0, 1), iou.flatten(0, 1)
        if is_best_only:
            best = iou.argmax(-1)
            index = torch.arange(len(best), device=best.device)
            logits, iou = logits[index, best][:, None], iou[index, best][:, None]
        return logits, iou


def load_prompted_network(folder: Path, model_type: str) -> PromptedNetwork:
    """Return the networks of a folder, in float32 on the CPU.

    Raises:
        BrokenWeightsError: transformers is not installed, or the folder has no weights of the model.
    """
    if CLASSES[model_type] == "EdgeTamModel" and importlib.util.find_spec("timm") is None:
        raise BrokenWeightsError(f"could not load {folder.name}: EdgeTAM needs the package timm: pip install timm")
    statistics = pixel_statistics(folder)
    return PromptedNetwork(load_model(folder, CLASSES[model_type]), folder.name, statistics)
