"""One picture at a time, for scripts: a thin holder over a segmenter, which itself remembers nothing.

Not for a server: what one caller sets, the next one would ask.
"""

from collections.abc import Sequence

import numpy as np

from sam_model.images.reader import ImageFormat, ImageSource, read_image
from sam_model.sam.automatic_mask_settings import automatic_mask_settings
from sam_model.sam.automatic_masks import AutomaticMask, segment_everything
from sam_model.sam.segmenter import SamEmbedding, SamSegmenter
from sam_model.scripting.prompt_arrays import Nested, prompts_from_arrays
from sam_model.scripting.results import Results, results_from_masks
from sam_model.types import Image


class Predictor:
    """Holds a picture and its embedding between calls: `set_image`, any number of prompts, `reset_image`."""

    def __init__(self, segmenter: SamSegmenter) -> None:
        self.segmenter = segmenter
        self._image: Image | None = None
        self._embedding: SamEmbedding | None = None

    def set_image(self, source: ImageSource, image_format: ImageFormat = "BGR") -> None:
        """Look at a picture: a path, a Pillow image, or an array whose colours are in the order `image_format`.

        Raises:
            ValueError: no picture can be made of it.
        """
        self._image = read_image(source, image_format)
        self._embedding = self.segmenter.embed(self._image)

    def reset_image(self) -> None:
        """Forget the picture."""
        self._image = self._embedding = None

    def __call__(
        self,
        source: ImageSource | None = None,
        *,
        points: Nested | None = None,
        labels: Nested | None = None,
        bboxes: Nested | None = None,
        masks: Nested | None = None,
        multimask: bool | None = None,
        image_format: ImageFormat = "BGR",
        show_progress: bool = True,
        **everything: object,
    ) -> Results:
        """The mask of each object that the prompts point at; of everything where there are no prompts.

        Args:
            source: another picture than the one set; it is not kept.
            points: clicks in pixels, x before y: (2,), P objects (P, 2), or N clicks for each of them (P, N, 2).
            labels: 1 on the object, 0 beside it, nested once less than `points`.
            bboxes: boxes (x_min, y_min, x_max, y_max): (4,) or (P, 4).
            masks: `low_res_logits` of an earlier answer: (256, 256) or (P, 256, 256).
            multimask: True gives all candidates of each prompt, best first.
            image_format: order of colours where `source` is an array.
            show_progress: a progress bar on the terminal while everything is segmented.
            everything: parameters of `AutomaticMaskSettings`, or the documentation's names for them.

        Raises:
            ValueError: a picture, prompt or parameter that makes no sense; the message names it.
            RuntimeError: no picture is set and none given.
        """
        if source is not None:
            image, embedding = read_image(source, image_format), None
        elif self._image is not None:
            image, embedding = self._image, self._embedding
        else:
            raise RuntimeError("no picture is set: call set_image first, or give a source")
        if points is None and labels is None and bboxes is None and masks is None:
            found = segment_everything(self.segmenter, image, automatic_mask_settings(**everything), show_progress)
            return results_from_automatic_masks(image, found, self.segmenter.name)
        if everything:
            raise ValueError(f"{', '.join(everything)}: for segmenting everything, and there are prompts")
        prompts = prompts_from_arrays(points, labels, bboxes, masks, multimask)
        answers = self.segmenter.segment(embedding or self.segmenter.embed(image), prompts)
        return results_from_masks(image, answers, prompts, self.segmenter.name)


def results_from_automatic_masks(image: Image, found: Sequence[AutomaticMask], model: str) -> Results:
    """The results of segmenting everything; these have no low-resolution logits."""
    return Results(
        image=image,
        run_lengths=tuple(mask.run_lengths for mask in found),
        scores=np.array([mask.predicted_iou for mask in found], dtype=np.float32),
        boxes=np.array([mask.box for mask in found], dtype=np.float32).reshape(-1, 4),
        low_res_logits=None,
        prompts=(),
        model=model,
    )
