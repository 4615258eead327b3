"""OWLv2: detects objects that a text describes, and describes the objects of an image by vectors.

Source: "Scaling Open-Vocabulary Object Detection", arXiv:2306.09683. Code and published weights are those of Hugging
Face's transformers (Apache-2.0, `google/owlv2-base-patch16-ensemble`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sam_model.masks.boxes import Boxes, box_iou
from sam_model.runtime.torch_runtime import Device, torch_device
from sam_model.text_queries import check_texts
from sam_model.transformers_models.found_boxes import corners_of, detections_above
from sam_model.transformers_models.model_folder import load_image_processor, load_model, load_tokenizer
from sam_model.types import Box, Detection, Image
from sam_model.weights.digest import weights_digest
from sam_model.yolo.detector import check_arguments

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ObjectProposals:
    """What may be an object in one image: one proposal per patch of the network's input."""

    boxes: Boxes  # (N, 4) in pixels of the image, inside it
    embeddings: Floats  # (N, D), of length 1; a larger scalar product means more similar objects
    objectness: Floats  # (N,) in 0..1


class OwlDetector:
    """OWLv2 as a `sam_model.interfaces.TextDetector`. Threads may share one."""

    def __init__(self, folder: Path, device: Device = "auto") -> None:
        """Load a folder that `save_pretrained` wrote, or a snapshot of the published weights.

        Raises:
            ValueError: the device is unknown.
            BrokenWeightsError: transformers is not installed, or the folder has no OWLv2 weights in safetensors format.
        """
        self.device = torch_device(device)
        self._model = load_model(folder, "Owlv2ForObjectDetection")
        self._images = load_image_processor(folder, "Owlv2ImageProcessorPil")
        self._tokenizer = load_tokenizer(folder, "CLIPTokenizer")
        self.name = folder.name
        self.fingerprint = f"owlv2-{weights_digest(self._model)}"
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

        Raises:
            ValueError: there is no text, or an empty one; `image` is not RGB uint8, or a threshold is outside 0..1.
        """
        check_texts(texts)
        check_arguments(image, score_threshold, iou_threshold, max_detections)
        tokens = self._tokenizer(list(texts), padding="max_length", truncation=True, return_tensors="pt")
        answer = self._model(
            input_ids=tokens["input_ids"].to(self.device),
            attention_mask=tokens["attention_mask"].to(self.device),
            pixel_values=self._pixels(image),
        )
        scores, class_ids = answer.logits[0].float().sigmoid().max(dim=1)
        boxes = self._boxes_in(image, answer.pred_boxes[0])
        return detections_above(
            score_threshold, boxes, scores, class_ids, texts, iou_threshold=iou_threshold, limit=max_detections
        )

    @torch.inference_mode()
    def propose(self, image: Image) -> ObjectProposals:
        """Return the proposals of an RGB uint8 image (H, W, 3), in the order of the patches.

        Raises:
            ValueError: `image` is not RGB uint8.
        """
        check_arguments(image, 0, 0, 0)
        grid, _ = self._model.image_embedder(pixel_values=self._pixels(image))  # (1, rows, columns, C)
        features = grid.flatten(1, 2)
        _, embeddings = self._model.class_predictor(features)
        boxes = self._model.box_predictor(features, grid)
        objectness = self._model.objectness_predictor(features)[0].float().sigmoid()
        return ObjectProposals(
            self._boxes_in(image, boxes[0]),
            torch.nn.functional.normalize(embeddings[0].float(), dim=1).cpu().numpy(),
            objectness.cpu().numpy(),
        )

    def describe(self, image: Image, boxes: Sequence[Box]) -> Floats:
        """Return the embeddings (N, D), of length 1, of the objects in `boxes` of an RGB uint8 image (H, W, 3).

        Raises:
            ValueError: `image` is not RGB uint8.
        """
        return embeddings_of_boxes(self.propose(image), boxes)

    def _pixels(self, image: Image) -> Tensor:
        """Return the network's input, (1, 3, S, S); the image is at its top left."""
        pixels: Tensor = self._images(images=image, return_tensors="pt")["pixel_values"]
        return pixels.to(self.device)

    def _boxes_in(self, image: Image, boxes: Tensor) -> Boxes:
        """Convert centres and sides (N, 4), as shares of a square, to corners in pixels, inside the image."""
        side = max(image.shape[:2])
        return corners_of(boxes, (side, side), (image.shape[0], image.shape[1]))


def embeddings_of_boxes(proposals: ObjectProposals, boxes: Sequence[Box]) -> Floats:
    """Return for each box the embedding of the proposal that fits it best, (N, D).

    That is the one with the largest IoU; if none overlaps the box, the one with the nearest centre.
    """
    chosen = [_best_fit(np.array(box, np.float32), proposals.boxes) for box in boxes]
    return proposals.embeddings[np.array(chosen, np.intp)]


def _best_fit(box: Boxes, boxes: Boxes) -> int:
    """Return which of `boxes` (N, 4) fits a box (4,) best."""
    iou = np.nan_to_num(box_iou(box, boxes))
    if iou.max() > 0:
        return int(iou.argmax())
    distances = (boxes[:, :2] + boxes[:, 2:] - box[:2] - box[2:]) ** 2
    return int(distances.sum(axis=1).argmin())
