"""An image and its embedding, held between calls, for scripts.

Not for a server: callers would share the image. Use a stateless segmenter there.
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
    """Segment one image with several prompts: `set_image`, any number of calls, `reset_image`."""

    def __init__(self, segmenter: SamSegmenter) -> None:
        self.segmenter = segmenter
        self._image: Image | None = None
        self._embedding: SamEmbedding | None = None

    def set_image(self, source: ImageSource, image_format: ImageFormat = "BGR") -> None:
        """Read an image and compute its embedding.

        Args:
            source: a path, a Pillow image or an array.
            image_format: colour order of an array.

        Raises:
            ValueError: the image cannot be read.
        """
        self._image = read_image(source, image_format)
        self._embedding = self.segmenter.embed(self._image)

    def reset_image(self) -> None:
        """Forget the image."""
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
        **automatic: object,
    ) -> Results:
        """Return the mask of each prompt, or all masks of the image if there are no prompts.

        Args:
            source: an image to use for this call only, instead of the one that was set.
            points: point prompts in pixels, x before y: one object (2,), P objects with one point each (P, 2), or P
                objects with N points each (P, N, 2).
            labels: 1 on the object, 0 beside it, nested one level less than `points`.
            bboxes: boxes (x_min, y_min, x_max, y_max): (4,) or (P, 4).
            masks: `low_res_logits` of earlier masks: (256, 256) or (P, 256, 256).
            multimask: True returns all candidates of each prompt, highest-scoring first.
            image_format: colour order if `source` is an array.
            show_progress: show a progress bar on the terminal while everything is segmented.
            automatic: fields of `AutomaticMaskSettings`, or the documentation's names for them; only without prompts.

        Raises:
            ValueError: an image, prompt or parameter is invalid; the message names it.
            RuntimeError: there is no image: neither set nor given.
        """
        if source is not None:
            image, embedding = read_image(source, image_format), None
        elif self._image is not None:
            image, embedding = self._image, self._embedding
        else:
            raise RuntimeError("no image: call set_image first, or pass a source")
        if points is None and labels is None and bboxes is None and masks is None:
            found = segment_everything(self.segmenter, image, automatic_mask_settings(**automatic), show_progress)
            return results_from_automatic_masks(image, found, self.segmenter.name)
        if automatic:
            raise ValueError(f"{', '.join(automatic)}: only for segmenting everything, but there are prompts")
        prompts = prompts_from_arrays(points, labels, bboxes, masks, multimask)
        answers = self.segmenter.segment(embedding or self.segmenter.embed(image), prompts)
        return results_from_masks(image, answers, prompts, self.segmenter.name)


def results_from_automatic_masks(image: Image, found: Sequence[AutomaticMask], model: str) -> Results:
    """Return the results of segmenting everything. They have no low-resolution logits."""
    return Results(
        image=image,
        run_lengths=tuple(mask.run_lengths for mask in found),
        scores=np.array([mask.predicted_iou for mask in found], dtype=np.float32),
        boxes=np.array([mask.box for mask in found], dtype=np.float32).reshape(-1, 4),
        low_res_logits=None,
        prompts=(),
        model=model,
    )
