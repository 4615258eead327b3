"""Any model of the Segment Anything family as a segmenter: an image becomes an embedding; prompts and embedding become
masks.

Segmenters are stateless, so threads may share one.

Source: SAM, arXiv:2304.02643.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam_model.masks.cleaning import MaskCleaning, clean_mask
from sam_model.masks.upscaling import Axis, loops, upscaled, upscaled_mask
from sam_model.runtime.choice import choose_runtime
from sam_model.runtime.combined_calls import CombinedCalls, images_per_batch
from sam_model.runtime.torch_runtime import Device, torch_device, torch_dtype
from sam_model.sam.converted_sam import ConvertedSam
from sam_model.sam.mask_prompts import logits_from_mask
from sam_model.sam.network import Features, SamNetwork
from sam_model.sam.prompt_batches import PromptBatch, batch_prompts
from sam_model.sam.shared_parts import SharedParts
from sam_model.sam.two_way_transformer import ImageParts
from sam_model.types import Image, Prompt, ScoredMask
from sam_model.weights.digest import weights_digest
from sam_model.weights.store import DEFAULT_DIRECTORY

REDUCED_MARGIN = 1.9  # a reduced image's sides by those of the encoder's input: 12 megapixels are halved
CONVERTED_DIRECTORY = DEFAULT_DIRECTORY / "openvino"


@dataclass(frozen=True)
class SamEmbedding:
    """What the mask decoder reads of one image, in its precision."""

    features: Tensor  # (1, 256, 64, 64)
    image_size: tuple[int, int]  # (height, width) of the original image, in pixels
    input_size: tuple[int, int]  # (height, width) of the encoder's input without padding
    fingerprint: str  # of the segmenter that made it
    details: tuple[Tensor, ...] = ()  # further maps; SAM has none
    shared: SharedParts = field(default_factory=SharedParts, repr=False, compare=False)  # by all prompts

    @property
    def dtype(self) -> str:
        """The precision, such as `float32`."""
        return str(self.features.dtype).removeprefix("torch.")

    @property
    def nbytes(self) -> int:
        """The memory it takes without `shared`, in bytes."""
        return sum(tensor.nbytes for tensor in self.tensors)

    @property
    def shared_nbytes(self) -> int:
        """The memory of `shared`, in bytes; 0 until `SamSegmenter.prepare` or the first prompt."""
        return self.shared.nbytes

    def drop_shared(self) -> None:
        """Free the memory of `shared`; the next prompt computes it again."""
        self.shared.drop()

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """`features` and `details`."""
        return (self.features, *self.details)


@dataclass(frozen=True)
class LowResMasks:
    """The mask decoder's output for P prompts with M masks each."""

    logits: Tensor  # (P, M, 256, 256) float32
    iou_predictions: Tensor  # (P, M) float32


class SamSegmenter:
    """A model of the family as a `sam_model.interfaces.Segmenter`."""

    uses_mask_input = True

    def __init__(
        self,
        model: SamNetwork,
        name: str,
        device: Device = "cpu",
        dtype: str = "float32",
        cleaning: MaskCleaning | None = None,
        prompts_per_batch: int = 16,
        runtime: str = "torch",
        converted_dir: Path = CONVERTED_DIRECTORY,
        images_at_once: int | None = None,
        reduces_images: bool = False,
    ) -> None:
        """Take a model with its weights, and move it to `device`.

        With OpenVINO, PyTorch answers in float32 until the networks are converted, which happens once per machine and
        takes seconds to a minute. Embeddings from before and after have the same fingerprint, and the decoder takes
        both.

        Args:
            model: the networks; must not be used elsewhere afterwards.
            name: in the registry, such as `mobile_sam`.
            device: `cpu`, `cuda`, `cuda:1`, `mps` or `auto`.
            dtype: of image encoder and mask decoder: `float32`, `bfloat16`, `float16` or `auto`.
            cleaning: post-processing of the masks; none by default.
            prompts_per_batch: limits the memory of a call; the decoder takes about 40 MB per prompt.
            runtime: `torch`, `openvino`, or `auto` for the faster one; see `choose_runtime`.
            converted_dir: folder of the networks that were converted for OpenVINO.
            images_at_once: of several threads, which PyTorch embeds in one batch; None for the device's.
            reduces_images: whether images may be decoded to a part of their size for `embed_reduced`; not if PyTorch
                computes in float32, which is exact.

        Raises:
            ValueError: the device, precision or runtime is unknown, or OpenVINO cannot be used.
        """
        self.runtime = choose_runtime(runtime, device, dtype)
        is_converted = self.runtime.name == "openvino"
        self.device = torch_device(self.runtime.device)
        if self.device.type == "cpu":
            loops.get()  # they are ready when the first mask is upscaled
        self.dtype = torch.float32 if is_converted else torch_dtype(self.runtime.dtype)  # of PyTorch's tensors
        self.name = name
        self.cleaning = cleaning or MaskCleaning()
        self.prompts_per_batch = prompts_per_batch
        digest = weights_digest(model)
        self.reduces_images = reduces_images and (is_converted or self.dtype != torch.float32)
        reduced = "reduced" if self.reduces_images else ""
        parts = [name, digest, str(self.runtime), str(self.cleaning), reduced]
        self.fingerprint = "-".join(part for part in parts if part)
        self.model = model.eval().requires_grad_(False).to(self.device)
        self.model.image_encoder.to(self.dtype)
        self.model.mask_decoder.to(self.dtype)
        self._batches = CombinedCalls(self._encode_batch, images_at_once or images_per_batch(self.runtime.device))
        self._positions = model.prompt_encoder.dense_positions().to(self.dtype)  # (1, C, grid, grid)
        self._place_parts = self._parts_of_places()
        self._converted = (
            ConvertedSam(model, name, digest, self.runtime.dtype, converted_dir.expanduser()) if is_converted else None
        )

    def to(self, device: Device) -> None:
        """Move the model to another device, while no other thread uses it.

        Raises:
            ValueError: the device is unknown, or this machine does not have it.
        """
        self.device = torch_device(device)
        if self.device.type != "cpu":
            self._converted = None
        self.model.to(self.device)
        self._positions = self._positions.to(self.device)
        self._place_parts = self._parts_of_places()

    @torch.inference_mode()
    def embed(self, image: Image) -> SamEmbedding:
        """Compute the embedding of an RGB uint8 image (H, W, 3).

        Raises:
            ValueError: `image` is not RGB uint8.
        """
        check_image(image)
        return self.embed_reduced(image, (image.shape[0], image.shape[1]))

    def least_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Return the smallest (height, width) to which an image of `image_size` may be decoded for its embedding."""
        if not self.reduces_images:
            return image_size
        height, width = self.model.input_size(image_size)
        return math.ceil(REDUCED_MARGIN * height), math.ceil(REDUCED_MARGIN * width)

    @torch.inference_mode()
    def embed_reduced(self, pixels: Image, image_size: tuple[int, int]) -> SamEmbedding:
        """Compute the embedding of an image of `image_size` that was decoded to RGB uint8 `pixels` (h, w, 3).

        Raises:
            ValueError: `pixels` are not RGB uint8.
        """
        check_image(pixels)
        input_size = self.model.input_size(image_size)
        resized = self.model.resize(pixels, input_size).to(self.device)
        features, details = self._encode(self.model.preprocess(resized).to(self.dtype))
        return SamEmbedding(features, image_size, input_size, self.fingerprint, details)

    def _encode(self, pixels: Tensor) -> Features:
        if self._converted:
            return self._converted.encode(pixels)
        return self._batches(pixels) if self._batches.at_most > 1 else self.model.encode(pixels)

    def _encode_batch(self, images: Sequence[Tensor]) -> list[Features]:
        """Encode images (1, 3, image_size, image_size) together."""
        features, details = self.model.encode(torch.cat(list(images)))
        return [  # copies, so that an embedding that is kept does not keep the others of its batch
            (features[i : i + 1].clone(), tuple(detail[i : i + 1].clone() for detail in details))
            for i in range(len(images))
        ]

    @torch.inference_mode()
    def low_res_masks(
        self,
        embedding: SamEmbedding,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        mask_inputs: Tensor | None = None,
        *,
        multimask: bool,
        is_best_only: bool = False,
        min_iou: float = 0.0,
    ) -> LowResMasks:
        """Run the mask decoder on P prompts of one shape, in one batch.

        Args:
            embedding: of the image.
            points: (P, N, 2), x before y, in pixels of the original image.
            labels: (P, N), 1 on the object and 0 beside it.
            boxes: (P, 4), in pixels of the original image.
            mask_inputs: (P, 1, 256, 256), logits of earlier masks.
            multimask: three masks per prompt instead of one.
            is_best_only: of three, only the mask with the highest predicted IoU.
            min_iou: logits of prompts of which no mask has a higher predicted IoU are not computed, and 0.

        Raises:
            ValueError: there is no prompt, shapes do not match, or the embedding was made by another model.
        """
        self._check_embedding(embedding)
        prompts = self._check_prompts(points, labels, boxes, mask_inputs)
        encoder = self.model.prompt_encoder
        sparse = encoder.tokens(
            prompts,
            None if points is None else self._scaled(points, embedding),
            None if labels is None else labels.to(self.device),
            None if boxes is None else self._scaled(boxes.view(-1, 2, 2), embedding).view(-1, 4),
        )
        details = tuple(detail.to(self.device) for detail in embedding.details)
        run = {"run": self._converted} if self._converted else {}

        def decode(parts: ImageParts, tokens: Tensor) -> tuple[Tensor, Tensor]:
            found: tuple[Tensor, Tensor] = self.model.mask_decoder(
                (*parts, *self._place_parts), details, tokens.to(self.dtype), multimask, is_best_only, min_iou, **run
            )
            return found

        if mask_inputs is None:
            logits, iou = decode(self._shared_parts(embedding), sparse)
        else:  # each prompt changes the image by its mask
            maps = encoder.mask_map(mask_inputs.to(self.device, torch.float32))
            pairs = [
                decode(self._image_parts(embedding, one[None]), tokens[None])
                for one, tokens in zip(maps, sparse, strict=True)
            ]
            logits, iou = torch.cat([logits for logits, _ in pairs]), torch.cat([iou for _, iou in pairs])
        return LowResMasks(logits.float(), iou.float())

    @torch.inference_mode()
    def prepare(self, embedding: SamEmbedding) -> None:
        """Compute what all prompts of an image share, unless it is there; the first prompt would do it otherwise.

        Raises:
            ValueError: the embedding was made by another model.
        """
        self._check_embedding(embedding)
        self._shared_parts(embedding)

    def _shared_parts(self, embedding: SamEmbedding) -> ImageParts:
        """Return what all prompts of an image share that have no mask."""
        return embedding.shared.get(
            self.device, lambda: self._image_parts(embedding, self.model.prompt_encoder.mask_map(None))
        )

    def _image_parts(self, embedding: SamEmbedding, mask_map: Tensor) -> ImageParts:
        image, dense = embedding.features.to(self.device), mask_map.to(self.dtype)
        if self._converted:
            return self._converted.prepare(image, dense)
        return self.model.mask_decoder.prepare(image, self._positions, dense)

    @torch.inference_mode()
    def _parts_of_places(self) -> ImageParts:
        """Return what all images share, contiguous: OpenVINO would copy other tensors at each prompt."""
        parts: ImageParts = self.model.mask_decoder.place_parts(self._positions)
        return tuple(part.contiguous() for part in parts)

    @torch.inference_mode()
    def full_size_logits(self, logits: Tensor, embedding: SamEmbedding) -> Tensor:
        """Upscale low-resolution logits (K, 256, 256) to the size of the original image, (K, H, W)."""
        return upscaled(logits, *self.mask_axes(embedding))

    def mask_axes(self, embedding: SamEmbedding) -> tuple[Axis, Axis]:
        """Return how rows and columns of low-resolution logits become those of the original image."""
        return self.model.mask_axes(embedding.input_size, embedding.image_size)

    def segment(self, embedding: SamEmbedding, prompts: Sequence[Prompt]) -> list[ScoredMask]:
        """Return the best mask of each prompt, in the order of the prompts, at the size of the original image.

        Raises:
            ValueError: a prompt is invalid for this image, or the embedding was made by another model.
        """
        self._check_embedding(embedding)
        masks: dict[int, ScoredMask] = {}
        low_res = self.model.size.low_res
        prompts = [self._with_logits(prompt, embedding) for prompt in prompts]
        for batch in batch_prompts(prompts, embedding.image_size, low_res, self.prompts_per_batch):
            found = self._decode(embedding, batch)
            for index, logits, iou in zip(batch.indices, found.logits, found.iou_predictions, strict=True):
                masks[index] = self._best_mask(embedding, prompts[index], logits, iou)
        return [masks[index] for index in range(len(prompts))]

    def _with_logits(self, prompt: Prompt, embedding: SamEmbedding) -> Prompt:
        """Return the prompt with a mask input in place of a mask (H, W)."""
        mask = prompt.mask
        if mask is None:
            return prompt
        if mask.shape != embedding.image_size:
            raise ValueError(f"the prompt's mask is {mask.shape}; needed: {embedding.image_size}, the image's size")
        size = self.model.size
        logits = logits_from_mask(mask, embedding.input_size, size.image_size, size.low_res)
        return replace(prompt, mask_input=logits, mask=None)

    def _decode(self, embedding: SamEmbedding, batch: PromptBatch) -> LowResMasks:
        return self.low_res_masks(
            embedding,
            batch.points,
            batch.labels,
            batch.boxes,
            batch.mask_inputs,
            multimask=batch.multimask,
            is_best_only=batch.is_best_only,
        )

    def _best_mask(self, embedding: SamEmbedding, prompt: Prompt, logits: Tensor, iou: Tensor) -> ScoredMask:
        """Return the highest-scoring candidate (M, 256, 256), with the others if the prompt asks for `multimask`."""
        ranked = iou.argsort(descending=True).tolist()
        if not prompt.multimask:
            ranked = ranked[:1]
        masks = [self._scored_mask(embedding, prompt, logits[i], float(iou[i])) for i in ranked]
        if len(masks) == 1:
            return masks[0]
        best = masks[0]
        return ScoredMask(best.mask, best.score, best.low_res_logits, alternatives=tuple(masks[1:]))

    def _scored_mask(self, embedding: SamEmbedding, prompt: Prompt, logits: Tensor, score: float) -> ScoredMask:
        threshold = self.model.mask_threshold
        if logits.device.type == "cpu":
            mask = upscaled_mask(logits.numpy(), *self.mask_axes(embedding), threshold)
        else:
            mask = (self.full_size_logits(logits[None], embedding)[0] > threshold).cpu().numpy()
        return ScoredMask(clean_mask(mask, self.cleaning, prompt.points), score, self.mask_input_from(logits))

    def mask_input_from(self, logits: Tensor) -> NDArray[np.float32]:
        """Return low-resolution logits as a caller may give them back as a mask input."""
        limit = self.model.mask_input_limit
        return logits.float().cpu().numpy().clip(-limit, limit)  # PyTorch's clamp waits for a second thread

    def _scaled(self, points: Tensor, embedding: SamEmbedding) -> Tensor:
        """Convert points (P, N, 2) from the original image to the encoder's input, float32 on the device."""
        (height, width), (new_height, new_width) = embedding.image_size, embedding.input_size
        scale = torch.tensor([new_width / width, new_height / height], dtype=torch.float64)
        return (points.cpu().double() * scale).float().to(self.device)

    def _check_embedding(self, embedding: SamEmbedding) -> None:
        if embedding.fingerprint != self.fingerprint:
            raise ValueError(
                f"the embedding was made by {embedding.fingerprint!r}; this segmenter is {self.fingerprint!r}"
            )

    def _check_prompts(
        self, points: Tensor | None, labels: Tensor | None, boxes: Tensor | None, mask_inputs: Tensor | None
    ) -> int:
        """Return the number of prompts."""
        low_res = self.model.size.low_res
        if (points is None) != (labels is None) or (
            points is not None and labels is not None and points.shape != (*labels.shape, 2)
        ):
            given = [None if x is None else tuple(x.shape) for x in (points, labels)]
            raise ValueError(f"points {given[0]} and labels {given[1]} differ; needed: (P, N, 2) and (P, N)")
        if boxes is not None and (boxes.ndim != 2 or boxes.shape[1] != 4):
            raise ValueError(f"boxes of shape {tuple(boxes.shape)} do not fit; needed: (P, 4)")
        if mask_inputs is not None and mask_inputs.shape[1:] != (1, low_res, low_res):
            raise ValueError(
                f"mask inputs of shape {tuple(mask_inputs.shape)} do not fit; needed: (P, 1, {low_res}, {low_res})"
            )
        counts = {len(x) for x in (points, boxes, mask_inputs) if x is not None}
        if len(counts) != 1:
            raise ValueError(
                f"points, boxes and mask inputs are for {sorted(counts)} prompts; needed: one number"
                if counts
                else "the prompt is empty: it needs points, boxes or mask inputs"
            )
        return counts.pop()


def check_image(image: Image) -> None:
    """Check that an image is RGB uint8 (H, W, 3) with at least one pixel.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(image, np.ndarray):
        raise ValueError(f"the image is a {type(image).__name__}; needed: a numpy array (H, W, 3), RGB uint8")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"the image is {image.dtype} {image.shape}; needed: RGB uint8 (H, W, 3)")
