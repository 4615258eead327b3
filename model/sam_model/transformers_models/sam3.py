"""SAM 3: detects and segments the objects that a text describes, or that resemble examples in the same image.

Source: SAM 3, arXiv:2511.16719; the model `sam3` of transformers (Apache-2.0). The weights are gated, under the SAM
License.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sam_model.masks.boxes import non_maximum_suppression
from sam_model.runtime.torch_runtime import Device, torch_device
from sam_model.text_queries import check_texts
from sam_model.transformers_models.model_folder import load_model, load_tokenizer
from sam_model.transformers_models.roi_align import roi_align
from sam_model.transformers_models.square_images import pixel_statistics, squashed
from sam_model.types import Box, Detection, Image, Mask
from sam_model.weights.digest import weights_digest
from sam_model.yolo.detector import check_arguments

MAX_TOKENS = 32  # of a text
EXAMPLES_ONLY = "visual"  # the text that stands for examples without one, as in training
MASK_THRESHOLD = 0.5


class Sam3Detector:
    """SAM 3 as a `sam_model.interfaces.TextDetector`; its detections have masks. Threads may share one."""

    has_masks = True

    def __init__(self, folder: Path, device: Device = "auto") -> None:
        """Load a folder that `save_pretrained` wrote, or a snapshot of the published weights.

        Raises:
            ValueError: the device is unknown.
            BrokenWeightsError: transformers is not installed, or the folder has no SAM 3 weights in safetensors format.
        """
        self.device = torch_device(device)
        self._statistics = pixel_statistics(folder)
        self._tokenizer = load_tokenizer(folder, "CLIPTokenizer")
        self._model = load_model(folder, "Sam3Model")
        _complete(self._model)
        self._side = int(self._model.config.image_size)
        self.name = folder.name
        self.fingerprint = f"sam3-{weights_digest(self._model)}"
        self._model.to(self.device)

    @torch.inference_mode()
    def detect_texts(
        self,
        image: Image,
        texts: Sequence[str],
        *,
        score_threshold: float = 0.25,
        iou_threshold: float = 0.7,
        max_detections: int = 300,
    ) -> list[Detection]:
        """Detect and segment the objects that `texts` describe; see `TextDetector.detect_texts`.

        Raises:
            ValueError: there is no text, or an empty one; `image` is not RGB uint8, or a threshold is outside 0..1.
        """
        check_texts(texts)
        check_arguments(image, score_threshold, iou_threshold, max_detections)
        features = self._features(image)
        answers = [self._answer(features, text) for text in texts]
        return _detections(image, answers, texts, score_threshold, iou_threshold, max_detections)

    @torch.inference_mode()
    def detect_similar(
        self,
        image: Image,
        boxes: Sequence[Box],
        *,
        are_positive: Sequence[bool] | None = None,
        text: str | None = None,
        score_threshold: float = 0.25,
        iou_threshold: float = 0.7,
        max_detections: int = 300,
    ) -> list[Detection]:
        """Detect and segment the objects that resemble examples in the same image, the examples among them.

        The class name of the detections is `text`, or `visual`.

        Args:
            image: RGB uint8 (H, W, 3).
            boxes: of the examples, in pixels.
            are_positive: which of them are examples; the others show what is not wanted. All by default.
            text: describes the objects, too.
            score_threshold: 0..1; detections need a higher score.
            iou_threshold: 0..1; of two boxes with a larger IoU, the highest-scoring one is kept.
            max_detections: maximum number of detections.

        Raises:
            ValueError: there is no example, `are_positive` has another length, `image` is not RGB uint8, or a threshold
                is outside 0..1.
        """
        check_arguments(image, score_threshold, iou_threshold, max_detections)
        labels = [True] * len(boxes) if are_positive is None else list(are_positive)
        if not boxes or len(labels) != len(boxes):
            raise ValueError(f"{len(boxes)} examples with {len(labels)} labels; needed: one or more, each with a label")
        height, width = image.shape[:2]
        shares = torch.tensor(boxes, dtype=torch.float32).view(-1, 4) / torch.tensor([width, height] * 2)
        low, high = shares[:, :2], shares[:, 2:]
        examples = {
            "input_boxes": torch.cat([(low + high) / 2, high - low], dim=1)[None].to(self.device),
            "input_boxes_labels": torch.tensor(labels).long()[None].to(self.device),
        }
        name = text or EXAMPLES_ONLY
        answer = self._answer(self._features(image), name, examples)
        return _detections(image, [answer], [name], score_threshold, iou_threshold, max_detections)

    def _features(self, image: Image) -> Any:
        """Return the image encoder's output."""
        statistics = torch.tensor([self._statistics.mean, self._statistics.std])[:, None, :, None, None] * 255
        mean, std = statistics.to(self.device)
        return self._model.get_vision_features((squashed(image, self._side).to(self.device) - mean) / std)

    def _answer(self, features: Any, text: str, examples: dict[str, Tensor] | None = None) -> Any:
        """Return the model's output for one text."""
        tokens = self._tokenizer(
            text, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
        )
        return self._model(
            vision_embeds=features,
            input_ids=tokens["input_ids"].to(self.device),
            attention_mask=tokens["attention_mask"].to(self.device),
            **(examples or {}),
        )


def _detections(
    image: Image,
    answers: list[Any],
    texts: Sequence[str],
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
) -> list[Detection]:
    """Return the objects of the answers to several texts; masks are made only of those that stay."""
    height, width = image.shape[:2]
    scores = [one.pred_logits[0].sigmoid() * one.presence_logits[0].sigmoid() for one in answers]
    every = torch.cat(scores).float().cpu().numpy()
    corners = torch.cat([one.pred_boxes[0] for one in answers]).float().cpu() * torch.tensor([width, height] * 2)
    boxes = corners.numpy().clip(0, np.array([width, height] * 2)).astype(np.float32)
    passed = np.flatnonzero(every > score_threshold)
    found = []
    for index in passed[non_maximum_suppression(boxes[passed], every[passed], iou_threshold)][:max_detections]:
        text, query = divmod(int(index), len(scores[0]))
        mask = _full_size(answers[text].pred_masks[0, query], (height, width))
        x_min, y_min, x_max, y_max = (float(edge) for edge in boxes[index])
        found.append(Detection((x_min, y_min, x_max, y_max), float(every[index]), text, texts[text], mask))
    return found


def _full_size(logits: Tensor, size: tuple[int, int]) -> Mask:
    """Return the mask (H, W) of logits (h, w); as in transformers, the probabilities are interpolated."""
    shares = F.interpolate(logits.sigmoid()[None, None], size, mode="bilinear", align_corners=False)
    mask: Mask = (shares[0, 0] > MASK_THRESHOLD).cpu().numpy()
    return mask


def _complete(model: Any) -> None:
    """Give the model's code the one function of torchvision that it calls, if torchvision is not installed."""
    code: Any = sys.modules[type(model).__module__]
    if not hasattr(code, "torchvision"):
        code.torchvision = SimpleNamespace(ops=SimpleNamespace(roi_align=roi_align))
