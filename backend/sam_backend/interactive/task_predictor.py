"""The prediction for a user's prompts on one task.

The steps: task -> image -> embedding; regions -> prompts; prompts and embedding -> masks -> regions.
"""

import base64
import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, count
from typing import Any

import cv2
import numpy as np

from sam_backend import metrics
from sam_backend.embeddings.disk import EmbeddingFolder
from sam_backend.embeddings.image_embeddings import ImageEmbeddings
from sam_backend.embeddings.memory import EmbeddingCache
from sam_backend.errors import BadRequestError, ImageError, ImageTooLargeError
from sam_backend.images.decode import decode_for_embedding, decode_image
from sam_backend.images.fetch import ImageCredentials, ImageRequest
from sam_backend.images.sources import host_of
from sam_backend.images.versions import ImageVersion, ImageVersions
from sam_backend.interactive.candidates import candidate_masks, is_ambiguous
from sam_backend.interactive.click_log import log_missing_mask
from sam_backend.interactive.closer_look import CloserLook
from sam_backend.interactive.extra_params import DEFAULT_OPTIONS, ClickOptions
from sam_backend.interactive.prefetch import PrefetchJob
from sam_backend.interactive.previous_logits import PreviousLogits
from sam_backend.interactive.prompts import ObjectPrompt, prompt_from_regions, regions_by_object
from sam_backend.interactive.refinement import refining_prompt, region_to_refine
from sam_backend.interactive.similar import similar_objects
from sam_backend.protocol.labeling_config import LabelingConfig
from sam_backend.protocol.predictions import Prediction, ResultJson
from sam_backend.protocol.regions import PromptRegion, RotatedRectangle
from sam_backend.protocol.requests import Task
from sam_backend.request_pool import slot_released
from sam_backend.segmenter.request_model import RequestModel
from sam_backend.shapes.polygon import PolygonStyle
from sam_backend.shapes.regions import results_from_mask
from sam_backend.shapes.targets import PromptTags, RegionTarget, click_target
from sam_model.images.decode import ReducedImage
from sam_model.interfaces import Embedding, Segmenter
from sam_model.types import Image, Mask, ScoredMask

logger = logging.getLogger(__name__)

MAX_BOXES_PER_CALL = 16
MAX_PIXELS_PER_CALL = 256_000_000  # of all masks of a call at full size, one byte per pixel


@dataclass(frozen=True)
class TaskImage:
    """The current version of a task's image: its embedding if it is in memory, else the bytes of its file."""

    version: ImageVersion
    embedding: Embedding | None


class TaskPredictor:
    """Makes predictions from prompts. It keeps only caches, so threads may share it."""

    def __init__(
        self,
        images: ImageVersions,
        cache: EmbeddingCache[Any],
        folder: EmbeddingFolder | None,
        max_pixels: int,
        polygon_style: PolygonStyle,
        *,
        zooms: bool = True,
    ) -> None:
        """Take the parts of the service.

        Args:
            images: fetches images, and checks whether they changed.
            cache: embeddings in memory.
            folder: embeddings on disk; None if they are not kept.
            max_pixels: of one image.
            polygon_style: of polygon and vector regions.
            zooms: whether small objects are segmented in a crop of the image too.
        """
        self._images, self._cache, self._folder = images, cache, folder
        self._previous_logits = PreviousLogits()
        self._max_pixels = max_pixels
        self._polygon_style = polygon_style
        self._zooms = zooms

    def predict(
        self,
        task: Task,
        regions: Sequence[PromptRegion],
        config: LabelingConfig,
        credentials: ImageCredentials,
        model: RequestModel,
        options: ClickOptions = DEFAULT_OPTIONS,
    ) -> Prediction:
        """Return the masks for a user's prompts on one task; no regions where the prompts give no object.

        Raises:
            BackendError: the prompts, the labeling config or the image cannot be used.
        """
        start = time.perf_counter()
        pages: dict[tuple[str, int], list[tuple[PromptRegion, ...]]] = {}
        for of_object in regions_by_object(regions, options.each_point_an_object):
            pages.setdefault((of_object[0].to_name, of_object[0].item_index or 0), []).append(of_object)
        results: list[ResultJson] = []
        scores: list[float] = []
        for (to_name, page), objects in pages.items():
            # before the image is fetched: the config may have no tag for the mask
            targets = {of_object: _target(config, of_object[0], options.sam_output) for of_object in objects}
            request = image_request(task, config, credentials, to_name, page)
            image = self.image(request, model)
            embedding = self.embedding(task, image, model)
            segmenter, digest = model.segmenter(), image.version.digest
            load_image = self._image_loader(request, image.version)
            closer = self._closer_look(task, load_image, image.version, segmenter)
            prompted: list[Mask] = []
            for found, candidates in self._segment(task, digest, embedding, objects, options, segmenter, closer):
                target, ids = targets[found.regions], region_ids(task, found)
                for number, scored in enumerate(candidates, 1):
                    with metrics.stage("encode"):
                        made = self._results(found.regions[0], target, scored, ids)
                    if len(candidates) > 1:
                        text = f"candidate {number} of {len(candidates)}, score {scored.score:.2f}"
                        made = [{**result, "meta": {"text": [text]}} for result in made]
                    results += made
                    scores.append(scored.score)
                if options.similar:
                    prompted.insert(0, candidates[0].mask)
                    for scored in similar_objects(segmenter, load_image, embedding, prompted):
                        results += self._results(found.regions[0], target, scored, ids)
                        scores.append(scored.score)
        logger.info(
            "predict %s: %d prompts, %d masks, %.0f ms",
            task.name,
            len(regions),
            len(scores),
            1e3 * (time.perf_counter() - start),
        )
        return Prediction(model.version, tuple(results), min(scores, default=0.0))

    def image(self, request: ImageRequest, model: RequestModel) -> TaskImage:
        """Return the current version of an image; fetch or check it over the network if necessary.

        Raises:
            BackendError: the image cannot be fetched.
        """
        start = time.perf_counter()
        with slot_released():
            version = self._images.get(request)
        embedding: Embedding | None = None
        if version.data is None:
            segmenter = model.ready_segmenter()
            embedding = None if segmenter is None else self._embeddings(segmenter).cached(version.digest)
            if embedding is None:  # the cache has dropped it, or another model made it
                with slot_released():
                    version = self._images.get(request, with_data=True)
        if version.data is not None:
            duration_s = time.perf_counter() - start
            metrics.observe("fetch", duration_s)
            logger.info("task %s: image fetched in %.0f ms", request.task_id, 1e3 * duration_s)
        return TaskImage(version, embedding)

    def is_warm(self, request: ImageRequest, model: RequestModel) -> bool:
        """Return whether a click on the image needs neither the network nor work that does not depend on the prompt.

        Raises:
            ImageError: the address cannot be fetched.
        """
        digest = self._images.fresh_digest(request)
        return self._is_prepared(digest, model)

    def is_embedded(self, request: ImageRequest, model: RequestModel) -> bool:
        """Return whether the version of the image that was seen last has its embedding in memory, ready for prompts.

        Raises:
            ImageError: the address cannot be fetched.
        """
        digest = self._images.last_digest(request)
        return self._is_prepared(digest, model)

    def _is_prepared(self, digest: str | None, model: RequestModel) -> bool:
        segmenter = model.ready_segmenter()
        return digest is not None and segmenter is not None and self._embeddings(segmenter).is_prepared(digest)

    def _embeddings(self, segmenter: Segmenter[Any]) -> ImageEmbeddings:
        return ImageEmbeddings(segmenter, self._cache, self._folder)

    def embedding(self, task: Task, image: TaskImage, model: RequestModel) -> Embedding:
        """Return the embedding of a task's image: stored, or computed by one thread, however many ask for it.

        Raises:
            BackendError: the image cannot be decoded, or the model is not ready.
        """
        if image.embedding is not None:
            return image.embedding
        data = image.version.data
        assert data is not None  # a TaskImage without embedding has the bytes
        segmenter = model.segmenter()

        def load() -> ReducedImage:
            with metrics.stage("decode"):
                return decode_for_embedding(data, segmenter, self._max_pixels)

        return self._embeddings(segmenter).get(image.version.digest, load, task.name)

    def embed_ahead(self, task: Task, image: TaskImage, model: RequestModel) -> None:
        """Do all work on a task's image that does not depend on the prompt.

        Raises:
            BackendError: the image cannot be decoded, or the model is not ready.
        """
        embedding = self.embedding(task, image, model)
        self._embeddings(model.segmenter()).prepare(embedding)

    def _decoded(self, data: bytes) -> Image:
        with metrics.stage("decode"):
            return decode_image(data, self._max_pixels)

    def _image_loader(self, request: ImageRequest, version: ImageVersion) -> Callable[[], Image]:
        def load_image() -> Image:
            found = version
            if found.data is None:
                with slot_released():
                    found = self._images.get(request, with_data=True)
            if found.data is None or found.digest != version.digest:
                raise ImageError("the image was replaced a moment ago")
            return self._decoded(found.data)

        return load_image

    def _closer_look(
        self, task: Task, load_image: Callable[[], Image], version: ImageVersion, segmenter: Segmenter[Any]
    ) -> CloserLook | None:
        if not self._zooms:
            return None
        embeddings = self._embeddings(segmenter)
        return CloserLook(segmenter, embeddings, self._previous_logits, load_image, version.digest, task.name)

    def _results(
        self, first: PromptRegion, target: RegionTarget, scored: ScoredMask, ids: Iterator[str]
    ) -> list[ResultJson]:
        mask = self._at_original_size(scored.mask, first.original_size)
        return results_from_mask(mask, target, ids, scored.score, first.item_index, self._polygon_style)

    def _segment(
        self,
        task: Task,
        digest: str,
        embedding: Embedding,
        objects: Sequence[tuple[PromptRegion, ...]],
        options: ClickOptions,
        segmenter: Segmenter[Any],
        closer: CloserLook | None,
    ) -> Iterator[tuple[ObjectPrompt, list[ScoredMask]]]:
        """Yield the objects with their masks, except objects without a usable prompt or with an empty mask.

        An object has several masks if the options ask for candidates and its prompt is ambiguous.
        """
        clicked: list[ObjectPrompt] = []
        boxed: list[ObjectPrompt] = []
        for of_object in objects:
            size = embedding.image_size
            refined = region_to_refine(task, of_object, size) if options.refine_regions else None
            prompt = prompt_from_regions(of_object, size, needs_positive=refined is None)
            if prompt is None:
                log_missing_mask(task.name, f"{len(of_object)} prompt(s), none positive")
            else:
                (clicked if prompt.box is None else boxed).append(ObjectPrompt(of_object, prompt, refined))
        found = chain(
            self._masks_of_clicks(segmenter, digest, embedding, clicked, options.candidates),
            ((each, [scored]) for each, scored in _masks_of_boxes(segmenter, embedding, boxed)),
        )
        for each, answers in found:
            is_plain = closer is not None and len(answers) == 1 and each.refined is None
            masks = [closer.improved(answers[0], each.prompt)] if closer is not None and is_plain else answers
            if masks[0].mask.any():
                yield each, masks
            else:
                log_missing_mask(task.name, f"empty mask for prompt {each.regions[0].id[:40]}")

    def _masks_of_clicks(
        self,
        segmenter: Segmenter[Any],
        digest: str,
        embedding: Embedding,
        objects: Sequence[ObjectPrompt],
        candidates: int,
    ) -> Iterator[tuple[ObjectPrompt, list[ScoredMask]]]:
        """Yield the masks one by one: in a batch, numbers are rounded otherwise than for a single prompt."""
        for each in objects:
            with metrics.stage("segment"):
                if each.refined is not None:
                    prompt = refining_prompt(segmenter, each.prompt, each.refined.mask)
                    found = segmenter.segment(embedding, [prompt])
                elif candidates > 1 and is_ambiguous(each.prompt):
                    found = candidate_masks(segmenter, embedding, each.prompt, candidates)
                else:
                    mask_input = self._previous_logits.mask_input(segmenter, embedding, digest, each.prompt)
                    found = segmenter.segment(embedding, [replace(each.prompt, mask_input=mask_input)])
            if found[0].low_res_logits is not None and each.refined is None:
                self._previous_logits.remember(digest, embedding, each.prompt, found[0].low_res_logits)
            yield each, found

    def _at_original_size(self, mask: Mask, original_size: tuple[int, int] | None) -> Mask:
        """Resize a mask to the size of the image in the browser; Submit fails in Label Studio if the RLE is longer."""
        if original_size is None or original_size == mask.shape:
            return mask
        height, width = original_size
        if height * width > self._max_pixels:
            raise ImageTooLargeError(
                f"original_width x original_height = {width} x {height} is more than {self._max_pixels} pixels"
            )
        logger.warning(
            "the image has %d x %d pixels in the browser and %d x %d in its file; resizing the mask",
            width,
            height,
            mask.shape[1],
            mask.shape[0],
        )
        return cv2.resize(mask.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT).view(np.bool_)


def _masks_of_boxes(
    segmenter: Segmenter[Any], embedding: Embedding, objects: Sequence[ObjectPrompt]
) -> Iterator[tuple[ObjectPrompt, ScoredMask]]:
    """Yield the masks, computed in batches; a batch is limited by the memory of its masks."""
    height, width = embedding.image_size
    batch_size = max(1, min(MAX_BOXES_PER_CALL, MAX_PIXELS_PER_CALL // (height * width)))
    for start in range(0, len(objects), batch_size):
        batch = objects[start : start + batch_size]
        with metrics.stage("segment"):
            found = segmenter.segment(embedding, [each.prompt for each in batch])
        yield from zip(batch, found, strict=True)


def _target(config: LabelingConfig, region: PromptRegion, project_shape: str | None) -> RegionTarget:
    prompt = PromptTags(region.labels, region.from_name, region.labels_from_name)
    target = click_target(config, region.to_name, prompt, project_shape)
    is_rotated = isinstance(region.shape, RotatedRectangle) and region.shape.rotation % 90 != 0
    return replace(target, shape="rotated_rectangle") if is_rotated and target.shape == "rectangle" else target


def image_request(
    task: Task, config: LabelingConfig, credentials: ImageCredentials, to_name: str | None = None, page: int = 0
) -> ImageRequest:
    """Return the request for page `page` of the image tag `to_name`, by default the first image tag.

    Raises:
        BadRequestError: the task or the config has no such image or page.
    """
    addresses = config.image(to_name).sources(task.data)
    if page >= len(addresses):
        raise BadRequestError(f"item_index={page}, but the item has {len(addresses)} page(s), counted from 0")
    return ImageRequest(addresses[page], task.id, task.project_id, credentials.login, credentials.password)


def embedding_job(
    predictor: TaskPredictor, task: Task, image: ImageRequest, model: Callable[[], RequestModel]
) -> PrefetchJob:
    """Return the job that embeds a task's image with the model that `model` returns when the job runs."""

    def fetch() -> tuple[TaskImage, RequestModel]:
        chosen = model()
        return predictor.image(image, chosen), chosen

    return PrefetchJob(task.name, host_of(image.uri), fetch, lambda found: predictor.embed_ahead(task, *found))


def region_ids(task: Task, of_object: ObjectPrompt) -> Iterator[str]:
    """Yield ids for the regions of one object's answer: several if its mask has several polygons.

    They differ for each object and are the same for the same request: Label Studio may ask twice. They depend on the
    prompts' positions as well: dragging a prompt must not overwrite a mask that was accepted. A region that is refined
    keeps its id, so that the editor replaces it.
    """
    identity = [task.id, [[r.id, asdict(r.shape), r.labels, r.to_name, r.item_index] for r in of_object.regions]]
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).digest()
    first = base64.urlsafe_b64encode(digest)[:10].decode() if of_object.refined is None else of_object.refined.id
    yield first
    for number in count(2):
        yield f"{first}-{number}"
