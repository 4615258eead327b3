"""An image and its embedding, held between calls, for scripts.

Not for a server: callers would share the image. Use a stateless segmenter there.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from sam_model.images.reader import ImageFormat
from sam_model.sam.automatic_mask_settings import AutomaticMaskSettings, automatic_mask_settings
from sam_model.sam.segmenter import SamEmbedding, SamSegmenter
from sam_model.scripting.call_arguments import check_half, share, split_arguments
from sam_model.scripting.devices import move_model
from sam_model.scripting.prediction import predict_images
from sam_model.scripting.prompt_arrays import Nested, prompts_from_arrays
from sam_model.scripting.segmentation import STABILITY_OFFSET, SegmentationRequest, segment_image
from sam_model.scripting.sources import Source, SourceImage, open_source, single_image
from sam_model.types import Prompt

REFUSED = {
    "agnostic_nms": "SAM has no classes",
    "classes": "SAM has no classes",
    "nms": "SAM's masks of prompts are not suppressed; use iou for segmenting everything",
    "max_det": "SAM returns the masks of all prompts, or all masks; choose from them with results[i]",
}


class Predictor:
    """Segment one image with several prompts: `set_image`, any number of calls, `reset_image`."""

    def __init__(self, segmenter: SamSegmenter, overrides: Mapping[str, Any] | None = None) -> None:
        """Take a model, and arguments that all calls share unless they have their own."""
        self.segmenter = segmenter
        self.overrides = dict(overrides or {})
        self._image: SourceImage | None = None
        self._embedding: SamEmbedding | None = None

    def set_image(self, source: Source, image_format: ImageFormat = "BGR") -> None:
        """Read an image and compute its embedding.

        Args:
            source: a path, URL, Pillow image, array or tensor.
            image_format: colour order of an array.

        Raises:
            ValueError: the image cannot be read, or the source has several images.
        """
        image = single_image(source, image_format)
        self._embedding = self.segmenter.embed(np.ascontiguousarray(image.image[..., ::-1]))
        self._image = image

    def reset_image(self) -> None:
        """Forget the image."""
        self._image = self._embedding = None

    def __call__(
        self,
        source: Source | None = None,
        stream: bool = False,
        bboxes: Nested | None = None,
        points: Nested | None = None,
        labels: Nested | None = None,
        masks: Nested | None = None,
        multimask_output: bool = False,
        *,
        image_format: ImageFormat = "BGR",
        **arguments: Any,
    ) -> Any:
        """Return the mask of each prompt, or all masks of the image if there are no prompts.

        As in Ultralytics 8.4, masks whose predicted IoU is not above `conf` (0.25) are left out.

        Args:
            source: images to use for this call only, instead of the one that was set.
            stream: return a generator of `Results` instead of a list.
            bboxes: boxes (x_min, y_min, x_max, y_max): (4,) or (P, 4).
            points: point prompts in pixels, x before y: one object (2,), P objects with one point each (P, 2), or P
                objects with N points each (P, N, 2).
            labels: 1 on the object, 0 beside it, nested one level less than `points`.
            masks: masks of any size, 0 and 1, or `low_res_logits` of earlier masks: (h, w) or (P, h, w).
            multimask_output: return the decoder's three masks of each prompt, in its order.
            image_format: colour order of arrays.
            arguments: `conf`, `device`, `verbose`, `show`, `save`, `save_txt`, `save_crop` and others of
                `OutputSettings`; without prompts also `iou` and the fields of `AutomaticMaskSettings`, or the names of
                Ultralytics' documentation for them.

        Raises:
            ValueError: an image, prompt or argument is invalid; the message names it.
            RuntimeError: there is no image: neither set nor given.
        """
        output, others = split_arguments({**self.overrides, **arguments}, "SAM", REFUSED)
        if "device" in others:
            move_model(self.segmenter, others.pop("device"))
        check_fixed(others, self.segmenter)
        prompts: tuple[Prompt, ...] = ()
        if any(one is not None for one in (bboxes, points, labels, masks)):
            prompts = tuple(prompts_from_arrays(points, labels, bboxes, masks, multimask_output))
            unused = set(others) & set(arguments) - {"conf"}
            if unused:
                raise ValueError(f"{', '.join(sorted(unused))}: only for segmenting everything, but there are prompts")
        request = SegmentationRequest(
            prompts=prompts,
            conf=share("conf", others.pop("conf", 0.25)),
            automatic=everything_settings(others),
            show_progress=output.verbose,
        )
        if source is not None:
            images, embedding = open_source(source, image_format), None
        elif self._image is not None:
            images, embedding = iter([self._image]), self._embedding
        else:
            raise RuntimeError("no image: call set_image first, or pass a source")
        segment = partial(segment_image, self.segmenter, request=request, embedding=embedding)
        return predict_images(images, segment, output, "segment", stream)


def check_fixed(arguments: dict[str, Any], segmenter: SamSegmenter) -> None:
    """Remove the arguments that have only one possible value.

    Raises:
        ValueError: one of them has another value.
    """
    if arguments.pop("imgsz", None) not in (None, 1024, [1024, 1024], (1024, 1024)):
        raise ValueError("imgsz: SAM's image encoder takes images of 1024 pixels; needed: imgsz=1024")
    if not arguments.pop("retina_masks", True):
        raise ValueError("retina_masks=False is not possible with SAM: its masks have the size of the image")
    check_half(arguments.pop("half", False), segmenter.device, segmenter.dtype)


def everything_settings(arguments: Mapping[str, Any]) -> AutomaticMaskSettings:
    """Return the settings of segmenting everything, with Ultralytics' defaults.

    Raises:
        ValueError: a name is unknown or given twice, or a value is invalid.
    """
    named = {"box_nms_thresh" if name == "iou" else name: value for name, value in arguments.items()}
    if "iou" in arguments and "box_nms_thresh" in arguments:
        raise ValueError("iou and box_nms_thresh are the same; give one of them")
    return automatic_mask_settings(**{"stability_score_offset": STABILITY_OFFSET, **named})
