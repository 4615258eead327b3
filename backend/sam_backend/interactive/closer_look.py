"""Small objects of a click: crops of the image, embedded at full resolution; see `sam_model.zoom`."""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

from sam_backend import metrics
from sam_backend.embeddings.image_embeddings import ImageEmbeddings
from sam_backend.errors import BackendError
from sam_backend.interactive.previous_logits import PreviousLogits
from sam_model.interfaces import Segmenter
from sam_model.types import Image, Prompt, ScoredMask
from sam_model.zoom import MAX_CROPS, Crop, segment_closely

logger = logging.getLogger(__name__)


class CloserLook:
    """Looks for better masks in crops of one image, for one request; their embeddings are cached like an image's."""

    def __init__(
        self,
        segmenter: Segmenter[Any],
        embeddings: ImageEmbeddings,
        previous_logits: PreviousLogits,
        load_image: Callable[[], Image],
        digest: str,
        name: str,
    ) -> None:
        """
        Args:
            segmenter: makes the masks.
            embeddings: of this segmenter.
            previous_logits: of the clicks before, by crop.
            load_image: fetches and decodes the image; called only if the embedding of a crop must be computed.
            digest: of the image.
            name: of the task, for the log.
        """
        self._segmenter, self._embeddings, self._previous_logits = segmenter, embeddings, previous_logits
        self._load_image, self._digest, self._name = load_image, digest, name
        self._crops: set[Crop] = set()

    def improved(self, answer: ScoredMask, prompt: Prompt) -> ScoredMask:
        """Return the answer for the whole image, or a better one for a crop.

        The objects of one request have at most `MAX_CROPS` different crops; further objects keep their answer.
        """
        height, width = answer.mask.shape
        try:
            return segment_closely(answer, prompt, (height, width), self._segment)
        except BackendError as error:  # the image is no longer there, or not readable now
            logger.warning("%s: could not segment a part of the image: %s", self._name, error)
            return answer

    def _segment(self, crop: Crop, prompt: Prompt) -> ScoredMask | None:
        self._crops.add(crop)
        if len(self._crops) > MAX_CROPS:
            return None
        position = f"{self._digest} {crop.x_min} {crop.y_min} {crop.x_max} {crop.y_max}"
        key = hashlib.sha256(position.encode()).hexdigest()
        embedding = self._embeddings.get(key, lambda: crop.cut(self._image), f"{self._name}, crop")
        with metrics.stage("segment"):
            mask_input = self._previous_logits.mask_input(self._segmenter, embedding, key, prompt)
            (found,) = self._segmenter.segment(embedding, [replace(prompt, mask_input=mask_input)])
        if found.low_res_logits is not None:
            self._previous_logits.remember(key, embedding, prompt, found.low_res_logits)
        return found

    @cached_property
    def _image(self) -> Image:
        return self._load_image()
