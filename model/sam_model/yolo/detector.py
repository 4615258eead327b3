"""YOLOv8 as a detector: a picture becomes objects with class names, and with masks where the network has them.

Nothing is remembered between two calls, so threads may share one detector.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sam_model.runtime.torch_runtime import torch_device, torch_dtype
from sam_model.types import Detection, Image, Mask
from sam_model.weights.digest import weights_digest
from sam_model.yolo.checkpoint import YoloModel
from sam_model.yolo.decode import Objects, decode, masks_of
from sam_model.yolo.heads import RawDetections
from sam_model.yolo.letterbox import Letterbox, letterbox

IMAGE_SIZE = 640  # pixels of the longer side, as in training


@dataclass(frozen=True)
class FoundObjects:
    """What was found in one picture; masks are made when they are asked for."""

    objects: Objects
    frame: Letterbox


class YoloDetector:
    """A YOLOv8 of any size behind the stateless interface of `sam_model.interfaces.Detector`."""

    def __init__(
        self,
        model: YoloModel,
        device: str = "cpu",
        dtype: str = "float32",
        image_size: int = IMAGE_SIZE,
        name: str | None = None,
    ) -> None:
        """Take a model with its weights, and move it to `device`.

        Args:
            model: network and class names; not to be used elsewhere afterwards.
            device: `cpu`, `cuda`, `cuda:1`, `mps` or `auto`.
            dtype: `float32`, `bfloat16` or `float16`.
            image_size: pixels of the longer side that the network sees, a multiple of 32.
            name: in the registry; architecture and size where None.

        Raises:
            ValueError: no such device or precision, or another image size.
        """
        letterbox((1, 1), image_size)  # complains of a size that does not work
        self.device, self.dtype = torch_device(device), torch_dtype(dtype)
        self.name = name or model.name
        self.class_names = model.class_names
        self.has_masks = model.network.has_masks
        self.image_size = image_size
        self.fingerprint = f"{self.name}-{weights_digest(model.network)}-{dtype}-{image_size}"
        self.network = model.network.eval()
        self.network.fuse()
        self.network.to(self.device, self.dtype)
        # what convolutions on a CPU are fastest with; PyTorch's types do not know that `to` takes it
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def detect(
        self,
        image: Image,
        *,
        score_threshold: float = 0.25,
        iou_threshold: float = 0.7,
        max_detections: int = 300,
        is_class_agnostic: bool = False,
        image_size: int | None = None,
    ) -> list[Detection]:
        """The objects in an RGB uint8 image (H, W, 3), the surest first, with masks where the network makes them.

        An object of which no pixel is left in its mask is none, as in Ultralytics.

        Args:
            image: RGB uint8 (H, W, 3).
            score_threshold: 0..1; a score must be above it.
            iou_threshold: 0..1; of two boxes that overlap by more the surer one stays.
            max_detections: number of objects that are kept.
            is_class_agnostic: boxes of different classes suppress each other, too.
            image_size: pixels of the longer side that the network sees; the detector's own where None.

        Raises:
            ValueError: not an RGB uint8 image, a threshold outside 0..1, or an image size that is no multiple of 32.
        """
        found = self.find(
            image,
            score_threshold=score_threshold,
            iou_threshold=iou_threshold,
            max_detections=max_detections,
            is_class_agnostic=is_class_agnostic,
            image_size=image_size,
        )
        masks = masks_of(found.objects, found.frame) if self.has_masks else None
        return detections_of(found.objects, self.class_names, masks)

    def find(
        self,
        image: Image,
        *,
        score_threshold: float,
        iou_threshold: float,
        max_detections: int = 300,
        is_class_agnostic: bool = False,
        image_size: int | None = None,
    ) -> FoundObjects:
        """As `detect`, without making the masks."""
        check_question(image, score_threshold, iou_threshold, max_detections)
        frame = letterbox((image.shape[0], image.shape[1]), image_size or self.image_size)
        raw = self.look(frame.apply(image))
        return FoundObjects(
            decode(raw, frame, score_threshold, iou_threshold, max_detections, is_class_agnostic=is_class_agnostic),
            frame,
        )

    @torch.inference_mode()
    def look(self, framed: Image) -> RawDetections:
        """The heads' answer to a picture (H, W, 3) whose sides are multiples of 32."""
        pixels = torch.from_numpy(framed).to(self.device).permute(2, 0, 1)[None]  # (1, 3, H, W), channels last
        answer: RawDetections = self.network(pixels.to(self.dtype) / 255)
        return answer


def detections_of(objects: Objects, class_names: Sequence[str], masks: Iterable[Mask] | None = None) -> list[Detection]:
    """The objects with their class names and, where there are masks, those of which a pixel is left in theirs."""
    found = []
    for place, mask in enumerate(masks if masks is not None else [None] * len(objects.scores)):
        if mask is not None and not mask.any():
            continue
        x_min, y_min, x_max, y_max = (float(edge) for edge in objects.boxes[place])
        class_id = int(objects.class_ids[place])
        name = class_names[class_id] if class_id < len(class_names) else f"class {class_id}"
        found.append(Detection((x_min, y_min, x_max, y_max), float(objects.scores[place]), class_id, name, mask))
    return found


def check_question(image: Image, score_threshold: float, iou_threshold: float, max_detections: int) -> None:
    """See that a detector can be asked this.

    Raises:
        ValueError: not an RGB uint8 image, a threshold outside 0..1, or a negative number of objects.
    """
    if not isinstance(image, np.ndarray):
        raise ValueError(f"the image is a {type(image).__name__}; needed: a numpy array (H, W, 3), RGB uint8")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"the image is {image.dtype} {image.shape}; needed: RGB uint8 (H, W, 3)")
    for name, value in (("score_threshold", score_threshold), ("iou_threshold", iou_threshold)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name}={value}; needed: 0..1")
    if max_detections < 0:
        raise ValueError(f"max_detections={max_detections}; needed: 0 or more")
