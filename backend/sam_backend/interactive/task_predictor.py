"""The walk of one task: image -> embedding, regions -> prompts, prompts and embedding -> masks -> regions."""

import base64
import hashlib
import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any, Protocol

import cv2
import numpy as np

from sam_backend import metrics
from sam_backend.embeddings.disk import EmbeddingFolder
from sam_backend.embeddings.memory import EmbeddingCache
from sam_backend.errors import BadRequestError, ImageTooLargeError
from sam_backend.images.decode import decode_image
from sam_backend.images.fetch import ImageRequest
from sam_backend.images.versions import ImageVersion, ImageVersions
from sam_backend.interactive.previous_logits import PreviousLogits
from sam_backend.interactive.prompts import ObjectPrompt, prompt_from_regions, regions_by_object
from sam_backend.protocol.labeling_config import LabelingConfig
from sam_backend.protocol.predictions import Prediction, ResultJson
from sam_backend.protocol.regions import PromptRegion
from sam_backend.protocol.requests import Task
from sam_backend.request_pool import slot_released
from sam_backend.segmenter.loading import ModelLoading
from sam_backend.shapes.brush import brush_value
from sam_backend.shapes.regions import region_results
from sam_model.interfaces import Embedding
from sam_model.types import Mask, ScoredMask

logger = logging.getLogger(__name__)

BOXES_AT_ONCE = 16
PIXELS_AT_ONCE = 256_000_000  # of masks at full size, one byte each


class Fetcher(Protocol):
    """Gets the bytes of an image from wherever a task says it is."""

    def fetch(
        self,
        uri: str,
        task_id: int | None = None,
        project_id: int | None = None,
        login: str | None = None,
        password: str | None = None,
    ) -> bytes:
        """The file at `uri`."""


@dataclass(frozen=True)
class ImageCredentials:
    """What the project's settings hold for images behind a password."""

    login: str | None = None
    password: str | None = None


@dataclass(frozen=True)
class SeenImage:
    """An image whose bytes are known: its embedding where that is in memory, else the bytes."""

    version: ImageVersion
    embedding: Embedding | None


class TaskPredictor:
    """Answers prompts on tasks; its only state is what it has seen before, so that threads may share it."""

    def __init__(
        self,
        model: ModelLoading,
        images: ImageVersions,
        cache: EmbeddingCache[Any],
        max_pixels: int,
        model_wait_s: float,
        files: EmbeddingFolder | None = None,
    ) -> None:
        self._model = model
        self._files = files
        self._images = images
        self._cache = cache
        self._earlier = PreviousLogits()
        self._max_pixels = max_pixels
        self._model_wait_s = model_wait_s

    def predict(
        self,
        task: Task,
        regions: Sequence[PromptRegion],
        config: LabelingConfig,
        credentials: ImageCredentials = ImageCredentials(),
    ) -> Prediction:
        """The masks for a person's prompts on one task; a prediction without regions where they mean no object.

        Raises:
            BackendError: the prompts, the config or the image cannot be used.
        """
        began = time.perf_counter()
        pages: dict[tuple[str, int], list[tuple[PromptRegion, ...]]] = {}
        for of_one in regions_by_object(regions):
            pages.setdefault((of_one[0].to_name, of_one[0].item_index or 0), []).append(of_one)
        results: list[ResultJson] = []
        scores: list[float] = []
        for (to_name, page), objects in pages.items():
            # before any work on the image: a config may have no place for the mask
            tags = {o: config.mask_tags(to_name, o[0].labels, o[0].labels_from_name) for o in objects}
            image = self.image(image_request(task, config, credentials, to_name, page))
            embedding = self.embedding(task, image)
            for found, scored in self._segment(task, image.version.digest, embedding, objects):
                with metrics.stage("encode"):
                    mask = self._at_original_size(scored.mask, found.regions[0].original_size)
                    value = brush_value(mask)
                results += region_results(
                    value,
                    (mask.shape[0], mask.shape[1]),
                    tags[found.regions],
                    to_name,
                    found.regions[0].labels,
                    region_id(task, found.regions),
                    scored.score,
                    found.regions[0].item_index,
                )
                scores.append(scored.score)
        logger.info(
            "predict %s: %d prompts, %d masks, %.0f ms",
            task.name,
            len(regions),
            len(scores),
            1e3 * (time.perf_counter() - began),
        )
        return Prediction(self._model.version, tuple(results), min(scores, default=0.0))

    def image(self, asked: ImageRequest) -> SeenImage:
        """The image that `asked` means now; waits for the network where it is new, or due to be checked.

        Raises:
            BackendError: the image cannot be fetched.
        """
        began = time.perf_counter()
        with slot_released():
            version = self._images.get(asked)
        embedding: Embedding | None = None
        if version.data is None:
            embedding = self._cache.get(version.digest)
            if embedding is None:  # it was embedded once, and made room since
                with slot_released():
                    version = self._images.get(asked, with_data=True)
        if version.data is not None:
            took_s = time.perf_counter() - began
            metrics.stage_seconds.labels("fetch").observe(took_s)
            logger.info("image of task %s: fetched in %.0f ms", asked.task_id, 1e3 * took_s)
        return SeenImage(version, embedding)

    def is_warm(self, asked: ImageRequest) -> bool:
        """Whether a click on the image needs no network and no embedding.

        Raises:
            ImageError: no address that can be fetched.
        """
        digest = self._images.fresh_digest(asked)
        return digest is not None and digest in self._cache

    def embedding(self, task: Task, image: SeenImage) -> Embedding:
        """The embedding of an image of a task, from the cache or made now, by one thread however many ask.

        Raises:
            BackendError: the image cannot be decoded, or the model is not ready.
        """
        if image.embedding is not None:
            return image.embedding
        data, digest = image.version.data, image.version.digest
        assert data is not None  # the other half of a SeenImage
        embedding: Embedding
        embedding, was_there = self._cache.get_or_compute(digest, lambda: self._compute_embedding(data, digest, task))
        logger.debug("embedding %s of %s: %s", digest[:12], task.name, "cached" if was_there else "new")
        return embedding

    def _compute_embedding(self, data: bytes, digest: str, task: Task) -> Embedding:
        began = time.perf_counter()
        if self._files is not None:
            fingerprint = self._model.segmenter(self._model_wait_s).fingerprint
            kept = self._files.read(digest, fingerprint)
            if kept is not None:
                logger.info("image of %s: its embedding was kept", task.name)
                return kept
        with metrics.stage("decode"):
            image = decode_image(data, self._max_pixels)
        decoded = time.perf_counter()
        segmenter = self._model.segmenter(self._model_wait_s)
        with metrics.stage("embed"):
            embedding: Embedding = segmenter.embed(image)
        if self._files is not None:
            self._files.write(digest, embedding)
        logger.info(
            "image of %s: %d x %d, decode %.0f ms, embed %.0f ms",
            task.name,
            image.shape[1],
            image.shape[0],
            1e3 * (decoded - began),
            1e3 * (time.perf_counter() - decoded),
        )
        return embedding

    def _segment(
        self, task: Task, digest: str, embedding: Embedding, objects: Sequence[tuple[PromptRegion, ...]]
    ) -> Iterator[tuple[ObjectPrompt, ScoredMask]]:
        """The objects that the prompts mean, with their masks; what means none, or gives no pixel, is left out."""
        clicked: list[ObjectPrompt] = []
        boxes: list[ObjectPrompt] = []
        for of_one in objects:
            prompt = prompt_from_regions(of_one, embedding.image_size)
            if prompt is None:
                logger.warning("%s: %d prompt(s) say what is not the object only: no mask", task.name, len(of_one))
            else:
                (clicked if prompt.box is None else boxes).append(ObjectPrompt(of_one, prompt))
        found = chain(self._refined(digest, embedding, clicked), self._boxed(embedding, boxes))
        for each, scored in found:
            if scored.mask.any():
                yield each, scored
            else:
                logger.warning("%s: nothing found for prompt %s", task.name, each.regions[0].id[:40])

    def _refined(
        self, digest: str, embedding: Embedding, objects: Sequence[ObjectPrompt]
    ) -> Iterator[tuple[ObjectPrompt, ScoredMask]]:
        """The masks of objects that were clicked; one by one, since a batch rounds otherwise than one prompt alone."""
        segmenter = self._model.segmenter(self._model_wait_s)
        for each in objects:
            with metrics.stage("segment"):
                mask_input = self._earlier.mask_input(segmenter, embedding, digest, each.prompt)
                (scored,) = segmenter.segment(embedding, [replace(each.prompt, mask_input=mask_input)])
            if scored.low_res_logits is not None:
                self._earlier.remember(digest, each.prompt, scored.low_res_logits)
            yield each, scored

    def _boxed(
        self, embedding: Embedding, objects: Sequence[ObjectPrompt]
    ) -> Iterator[tuple[ObjectPrompt, ScoredMask]]:
        """The masks of objects in boxes; so many at once that their masks stay small."""
        segmenter = self._model.segmenter(self._model_wait_s)
        height, width = embedding.image_size
        at_once = max(1, min(BOXES_AT_ONCE, PIXELS_AT_ONCE // (height * width)))
        for start in range(0, len(objects), at_once):
            part = objects[start : start + at_once]
            with metrics.stage("segment"):
                found = segmenter.segment(embedding, [each.prompt for each in part])
            yield from zip(part, found, strict=True)

    def _at_original_size(self, mask: Mask, original_size: tuple[int, int] | None) -> Mask:
        """The mask at the size that the browser shows: a longer RLE would make Label Studio's Submit fail."""
        if original_size is None or original_size == mask.shape:
            return mask
        height, width = original_size
        if height * width > self._max_pixels:
            raise ImageTooLargeError(
                f"original_width x original_height = {width} x {height} is more than {self._max_pixels} pixels"
            )
        logger.warning("the browser shows %d x %d, the file has %d x %d", width, height, mask.shape[1], mask.shape[0])
        return cv2.resize(mask.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT).view(np.bool_)


def image_request(
    task: Task, config: LabelingConfig, credentials: ImageCredentials, to_name: str | None = None, page: int = 0
) -> ImageRequest:
    """What to fetch for page `page` of the image tag `to_name`; without a name the first image tag counts.

    Raises:
        BadRequestError: the task or the config names no such image or page.
    """
    addresses = config.image(to_name).sources(task.data)
    if page >= len(addresses):
        raise BadRequestError(f"item_index={page}, but the item has {len(addresses)} page(s), counted from 0")
    return ImageRequest(addresses[page], task.id, task.project_id, credentials.login, credentials.password)


def region_id(task: Task, regions: Sequence[PromptRegion]) -> str:
    """An id that is new for every object and the same for the same request: Label Studio asks twice at times.

    The prompts' places are in it too: a mask that was accepted must not be overwritten when its prompt is dragged on.
    """
    said = [task.id, [[r.id, asdict(r.shape), r.labels, r.to_name, r.item_index] for r in regions]]
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).digest()
    return base64.urlsafe_b64encode(digest)[:10].decode()
