"""YOLO networks as detectors: objects with class names, and with masks if the network has them.

Detectors are stateless, so threads may share one.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sam_model.runtime.choice import choose_runtime
from sam_model.runtime.combined_calls import CombinedCalls, images_per_batch
from sam_model.runtime.torch_runtime import Device, torch_device, torch_dtype
from sam_model.types import Detection, Image, Mask
from sam_model.weights.digest import weights_digest
from sam_model.weights.store import DEFAULT_DIRECTORY
from sam_model.yolo.checkpoint import YoloModel
from sam_model.yolo.converted_yolo import ConvertedYolo
from sam_model.yolo.decode import Objects, decode
from sam_model.yolo.heads import RawDetections
from sam_model.yolo.letterbox import Letterbox, letterbox
from sam_model.yolo.masks import masks_of
from sam_model.yolo.network import Yolo

CONVERTED_DIRECTORY = DEFAULT_DIRECTORY / "openvino"
IMAGE_SIZE = 640  # longer side of the network's input in pixels, as in training


@dataclass(frozen=True)
class FoundObjects:
    """The objects of one image, before their masks are made."""

    objects: Objects
    frame: Letterbox


class YoloDetector:
    """A YOLO network as a `sam_model.interfaces.Detector`."""

    def __init__(
        self,
        model: YoloModel,
        device: Device = "cpu",
        dtype: str = "float32",
        image_size: int = IMAGE_SIZE,
        name: str | None = None,
        runtime: str = "torch",
        converted_dir: Path = CONVERTED_DIRECTORY,
        images_at_once: int | None = None,
    ) -> None:
        """Take a model with its weights, and move it to `device`.

        Args:
            model: network and class names; must not be used elsewhere afterwards.
            device: `cpu`, `cuda`, `cuda:1`, `mps` or `auto`.
            dtype: `float32`, `bfloat16`, `float16` or `auto`.
            image_size: length of the longer side of the network's input in pixels, a multiple of 32.
            name: in the registry; architecture and size if None.
            runtime: `torch`, `openvino`, or `auto` for the faster one; see `choose_runtime`.
            converted_dir: folder of the networks that were converted for OpenVINO.
            images_at_once: of several threads, which PyTorch computes in one batch; None for the device's.

        Raises:
            ValueError: the device, precision or runtime is unknown, OpenVINO cannot be used, or `image_size` is not a
                multiple of 32.
        """
        letterbox((1, 1), image_size)  # raises a ValueError if the size is invalid
        self.runtime = choose_runtime(runtime, device, dtype)
        is_converted = self.runtime.name == "openvino"
        self.device = torch_device(self.runtime.device)
        self.dtype = torch.float32 if is_converted else torch_dtype(self.runtime.dtype)  # of PyTorch's tensors
        self.name = name or model.name
        self.class_names = model.class_names
        self.has_masks = model.network.has_masks
        self.image_size = image_size
        digest = weights_digest(model.network)
        self.fingerprint = f"{self.name}-{digest}-{self.runtime}-{image_size}"
        self.network = model.network.eval()
        self.network.fuse()
        self.network.to(self.device, self.dtype)
        self._batches = CombinedCalls(self._run_batch, images_at_once or images_per_batch(self.runtime.device))
        self._run: Yolo | ConvertedYolo = self.network
        if is_converted:
            folder = converted_dir.expanduser()
            self._run = ConvertedYolo(self.network, self.name, digest, self.runtime.dtype, folder)
        else:  # the fastest layout for convolutions on a CPU; PyTorch's type hints lack this argument of `to`
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def to(self, device: Device) -> None:
        """Move the network to another device, while no other thread uses it.

        Raises:
            ValueError: the device is unknown, or this machine does not have it.
        """
        self.device = torch_device(device)
        if self.device.type != "cpu":
            self._run = self.network
        self.network.to(self.device)

    def detect(
        self,
        image: Image,
        *,
        score_threshold: float = 0.25,
        iou_threshold: float = 0.7,
        max_detections: int = 300,
        is_class_agnostic: bool = False,
        image_size: int | None = None,
        wanted_ids: Collection[int] | None = None,
        one_to_one: bool = False,
    ) -> list[Detection]:
        """Detect objects in an RGB uint8 image (H, W, 3); return them highest-scoring first, with masks if there are
        any.

        As in Ultralytics, an object with an empty mask is left out.

        Args:
            image: RGB uint8 (H, W, 3).
            score_threshold: 0..1; detections need a higher score.
            iou_threshold: 0..1; of two boxes with a larger IoU, the highest-scoring one is kept.
            max_detections: maximum number of detections.
            is_class_agnostic: apply `iou_threshold` also between boxes of different classes.
            image_size: length of the longer side of the network's input in pixels; None for the detector's.
            wanted_ids: the classes to look for; None for all.
            one_to_one: use the head that finds each object once (YOLO26), so that `iou_threshold` has no effect. It is
                always used if the file has no other, and never if the file does not have it.

        Raises:
            ValueError: `image` is not RGB uint8, a threshold is outside 0..1, or `image_size` is not a multiple of 32.
        """
        found = self.find(
            image,
            score_threshold=score_threshold,
            iou_threshold=iou_threshold,
            max_detections=max_detections,
            is_class_agnostic=is_class_agnostic,
            image_size=image_size,
            wanted_ids=wanted_ids,
            one_to_one=one_to_one,
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
        wanted_ids: Collection[int] | None = None,
        one_to_one: bool = False,
    ) -> FoundObjects:
        """Detect objects as `detect` does, without making the masks.

        `sam_model.yolo.masks` makes them: `masks_of` at the image's resolution, `masks_in_input` at that of the
        network's input.
        """
        check_arguments(image, score_threshold, iou_threshold, max_detections)
        frame = letterbox((image.shape[0], image.shape[1]), image_size or self.image_size)
        raw = self.raw_detections(frame.apply(image), one_to_one=one_to_one)
        objects = decode(
            raw,
            frame,
            score_threshold,
            iou_threshold,
            max_detections,
            is_class_agnostic=is_class_agnostic,
            wanted_ids=wanted_ids,
        )
        return FoundObjects(objects, frame)

    @torch.inference_mode()
    def raw_detections(self, framed: Image, *, one_to_one: bool = False) -> RawDetections:
        """Run the network on an image (H, W, 3) whose sides are multiples of 32."""
        pixels = torch.from_numpy(framed).to(self.device).permute(2, 0, 1)[None]  # (1, 3, H, W), channels last
        if isinstance(self._run, Yolo) and self._batches.at_most > 1:
            return self._batches((pixels, one_to_one))
        answer: RawDetections = self._run(pixels.to(self.dtype) / 255, one_to_one=one_to_one)
        return answer

    def _run_batch(self, images: Sequence[tuple[Tensor, bool]]) -> list[RawDetections]:
        """Run the network on images (1, 3, H, W), each with `one_to_one`: those of one size together."""
        groups: dict[tuple[torch.Size, bool], list[int]] = {}
        for index, (pixels, one_to_one) in enumerate(images):
            groups.setdefault((pixels.shape, one_to_one), []).append(index)
        found: dict[int, RawDetections] = {}
        for (_, one_to_one), indices in groups.items():
            batch = torch.cat([images[index][0] for index in indices])
            raw: RawDetections = self.network(batch.to(self.dtype) / 255, one_to_one=one_to_one)
            found |= {index: raw.of_image(place) for place, index in enumerate(indices)}
        return [found[index] for index in range(len(images))]


def detections_of(objects: Objects, class_names: Sequence[str], masks: Iterable[Mask] | None = None) -> list[Detection]:
    """Return the objects with their class names; with masks, only those whose mask is not empty."""
    found = []
    for place, mask in enumerate(masks if masks is not None else [None] * len(objects.scores)):
        if mask is not None and not mask.any():
            continue
        x_min, y_min, x_max, y_max = (float(edge) for edge in objects.boxes[place])
        class_id = int(objects.class_ids[place])
        name = class_names[class_id] if class_id < len(class_names) else f"class {class_id}"
        found.append(Detection((x_min, y_min, x_max, y_max), float(objects.scores[place]), class_id, name, mask))
    return found


def check_arguments(image: Image, score_threshold: float, iou_threshold: float, max_detections: int) -> None:
    """Check the arguments of a detector.

    Raises:
        ValueError: `image` is not RGB uint8, a threshold is outside 0..1, or `max_detections` is negative.
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
