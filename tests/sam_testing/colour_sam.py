"""A SAM whose logits follow from colour: the object under a click is the area of the colour there.

It costs nothing, and its masks are known beforehand. Each click gets three candidates: the object itself, which is
good; a restless pattern that is called good and falls to the stability filter; the whole image, which is called bad.
"""

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sam_model.masks.upscaling import Axis, upscaled
from sam_model.sam.sam import Sam, encoder_size
from sam_model.sam.segmenter import LowResMasks, SamEmbedding
from sam_model.types import Image, Prompt, ScoredMask

SIDE = 64  # of the low-resolution logits
INPUT_SIDE = 4 * SIDE  # an image of this long side is not scaled
GOOD, RESTLESS, BAD = 0.95, 0.9, 0.5  # predicted IoUs


class ColourSam:
    name = "colour_sam"
    fingerprint = "colour-sam-1"
    uses_mask_input = False
    device, dtype = torch.device("cpu"), torch.float32
    prompts_per_batch = 16

    def __init__(self) -> None:
        self.model = SimpleNamespace(
            mask_threshold=0.0, everything_iou=0.88, image_size=INPUT_SIDE, size=SimpleNamespace(low_res=SIDE)
        )
        self.embedded: list[tuple[int, int]] = []  # sizes of the images seen
        self.largest_batch = 0

    def embed(self, image: Image) -> SamEmbedding:
        assert image.dtype == np.uint8
        assert image.shape[2] == 3
        size = (image.shape[0], image.shape[1])
        self.embedded.append(size)
        side = max(size)
        features = torch.zeros(1, 3, side, side)  # beside the image is padding, as in SAM's embedding
        features[0, :, : size[0], : size[1]] = torch.from_numpy(image.copy()).permute(2, 0, 1)
        return SamEmbedding(features, size, encoder_size(size, INPUT_SIDE), self.fingerprint)

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
        if points is not None:
            assert labels is not None
            assert points.shape == (*labels.shape, 2)
        places = (
            (boxes[:, :2] + boxes[:, 2:]) / 2 if boxes is not None else points[:, 0] if points is not None else None
        )
        assert places is not None
        self.largest_batch = max(self.largest_batch, len(places))
        objects = [self._object(embedding, x, y) for x, y in places.long().tolist()]
        if not multimask:
            return LowResMasks(torch.stack(objects)[:, None], torch.full((len(objects), 1), GOOD))
        y, x = np.mgrid[0:SIDE, 0:SIDE]
        restless = torch.from_numpy(np.where((x + y) % 2 == 0, 0.5, -0.5).astype(np.float32))
        logits = [torch.stack([one, restless, torch.full((SIDE, SIDE), 9.0)]) for one in objects]
        return LowResMasks(torch.stack(logits), torch.tensor([[GOOD, RESTLESS, BAD]]).repeat(len(objects), 1))

    def full_size_logits(self, logits: Tensor, embedding: SamEmbedding) -> Tensor:
        return upscaled(logits, *self.mask_axes(embedding))

    def mask_axes(self, embedding: SamEmbedding) -> tuple[Axis, Axis]:
        return Sam.mask_axes(self.model, embedding.input_size, embedding.image_size)  # type: ignore[arg-type]

    def mask_input_from(self, logits: Tensor) -> NDArray[np.float32]:
        return logits.numpy()

    def segment(self, embedding: SamEmbedding, prompts: Sequence[Prompt]) -> list[ScoredMask]:
        answers = []
        for prompt in prompts:
            x_min, y_min, x_max, y_max = prompt.box or (prompt.points[0].x, prompt.points[0].y) * 2
            logits = self._object(embedding, int((x_min + x_max) / 2), int((y_min + y_max) / 2))
            mask = (self.full_size_logits(logits[None], embedding)[0] > 0).numpy()
            answers.append(ScoredMask(mask, GOOD, logits.numpy()))
        return answers

    @staticmethod
    def _object(embedding: SamEmbedding, x: int, y: int) -> Tensor:
        """Return the logits (64, 64) of the area with the colour of pixel (x, y): 8 inside, -8 outside."""
        rows, columns = embedding.image_size
        colours = embedding.features[0, :, :rows, :columns]
        is_object = (colours == colours[:, y, x, None, None]).all(0).float()
        height, width = (round(side * SIDE / INPUT_SIDE) for side in embedding.input_size)
        inside = F.interpolate(is_object[None, None], (height, width), mode="area")[0, 0]
        return F.pad(16 * inside - 8, (0, SIDE - width, 0, SIDE - height), value=-8.0)
