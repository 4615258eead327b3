"""Grounding DINO, MM-Grounding-DINO and LLMDet: detect the objects that a text describes.

Sources: Grounding DINO, arXiv:2303.05499; MM-Grounding-DINO, arXiv:2401.02361; LLMDet, arXiv:2501.18954; the models
`grounding-dino` and `mm-grounding-dino` of transformers (Apache-2.0).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sam_model.runtime.torch_runtime import Device, torch_device
from sam_model.text_queries import check_texts
from sam_model.transformers_models.found_boxes import corners_of, detections_above
from sam_model.transformers_models.model_folder import (
    load_image_processor,
    load_model,
    load_tokenizer,
    model_type_of,
)
from sam_model.types import Detection, Image
from sam_model.weights.digest import weights_digest
from sam_model.yolo.detector import check_arguments

CLASSES = {  # by model_type
    "grounding-dino": "GroundingDinoForObjectDetection",
    "mm-grounding-dino": "MMGroundingDinoForObjectDetection",
}
SEPARATOR = ". "  # between the texts of one question


@dataclass(frozen=True, eq=False)
class Question:
    """Several texts as one, which fits into the network's text input."""

    tokens: dict[str, Tensor]  # of the tokenizer, (1, T) each
    owners: Tensor  # (T,) which text a token belongs to, -1 for none


class GroundingDinoDetector:
    """A model of the family as a `sam_model.interfaces.TextDetector`. Threads may share one."""

    def __init__(self, folder: Path, device: Device = "auto") -> None:
        """Load a folder that `save_pretrained` wrote, or a snapshot of the published weights.

        Raises:
            ValueError: the device is unknown.
            BrokenWeightsError: transformers is not installed, or the folder has no weights of the family in safetensors
                format.
        """
        self.device = torch_device(device)
        kind = model_type_of(folder)
        self._images = load_image_processor(folder, "GroundingDinoImageProcessorPil")
        self._tokenizer = load_tokenizer(folder, "BertTokenizer")
        self._model = load_model(folder, CLASSES[kind])
        self._max_tokens = int(self._model.config.max_text_len)
        self.name = folder.name
        self.fingerprint = f"{kind}-{weights_digest(self._model)}"
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
        """Detect the objects that `texts` describe; see `TextDetector.detect_texts`.

        All texts are one question to the network, or several if they do not fit into one. An object's class is the text
        with the highest-scoring token.

        Raises:
            ValueError: there is no text, an empty one, or one that is too long; `image` is not RGB uint8, or a
                threshold is outside 0..1.
        """
        check_texts(texts)
        check_arguments(image, score_threshold, iou_threshold, max_detections)
        inputs = {name: value.to(self.device) for name, value in self._images(image, return_tensors="pt").items()}
        boxes, scores, class_ids = [], [], []
        for question in self._questions(texts):
            tokens = {name: value.to(self.device) for name, value in question.tokens.items()}
            answer = self._model(**inputs, **tokens)
            owners = question.owners.to(self.device)
            shares = answer.logits[0, :, : len(owners)].float().sigmoid()  # (queries, T)
            boxes.append(answer.pred_boxes[0])
            scores.append(shares.max(dim=1).values)
            class_ids.append(owners[shares.masked_fill(owners < 0, -1).argmax(dim=1)].clamp(min=0))
        size = (image.shape[0], image.shape[1])
        return detections_above(
            score_threshold,
            corners_of(torch.cat(boxes), size, size),
            torch.cat(scores),
            torch.cat(class_ids),
            texts,
            iou_threshold=iou_threshold,
            limit=max_detections,
        )

    def _questions(self, texts: Sequence[str]) -> Iterator[Question]:
        """Join as many texts as fit into one question, in their order."""
        start = 0
        while start < len(texts):
            end = len(texts)
            question = self._question(texts, start, end)
            while len(question.owners) > self._max_tokens and end > start + 1:
                end = start + max(1, (end - start) // 2)
                question = self._question(texts, start, end)
            if len(question.owners) > self._max_tokens:
                raise ValueError(
                    f"text {texts[start][:40]!r}... has {len(question.owners)} tokens; {self.name} takes "
                    f"{self._max_tokens}"
                )
            yield question
            start = end

    def _question(self, texts: Sequence[str], start: int, end: int) -> Question:
        """Return the texts from `start` to `end` as one question, such as `a cat. a dog.`"""
        spans, text = [], ""
        for one in texts[start:end]:
            # a full stop within a text would end it
            words = " ".join(one.lower().replace(".", " ").split())
            spans.append((len(text), len(text) + len(words)))
            text += words + SEPARATOR
        tokens = self._tokenizer(
            text.strip(), return_tensors="pt", return_offsets_mapping=True, return_token_type_ids=True
        )
        offsets = tokens.pop("offset_mapping")[0].numpy()  # (T, 2), first and last character; equal of special tokens
        owners = np.full(len(offsets), -1)
        for index, (first, last) in enumerate(spans, start):
            owners[(offsets[:, 0] >= first) & (offsets[:, 1] <= last) & (offsets[:, 1] > offsets[:, 0])] = index
        return Question(dict(tokens), torch.from_numpy(owners))
