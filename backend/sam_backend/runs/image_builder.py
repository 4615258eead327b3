"""Runs that write no predictions but store what is computed from a project's images in SAM_EMBEDDINGS_DIR.

The purpose `embeddings` stores embeddings, `regions` the index of regions for the detector `exemplars`.
"""

import hashlib
import time
from collections.abc import Callable
from typing import Any, Protocol

from sam_backend.embeddings.disk import EmbeddingFolder, embedding_folder
from sam_backend.embeddings.image_embeddings import ImageEmbeddings
from sam_backend.errors import BadRequestError
from sam_backend.exemplars.image_regions import RegionSource
from sam_backend.images.decode import decode_for_embedding, decode_image
from sam_backend.images.fetch import Fetcher, ImageCredentials
from sam_backend.label_studio.client import LabelStudioClient
from sam_backend.label_studio.projects import ProjectDetails
from sam_backend.label_studio.retry_policy import RetryPolicy, StoppedError
from sam_backend.preannotation.loading import region_source, segmenter_choice
from sam_backend.preannotation.local_executor import LocalExecutor, compute_threads
from sam_backend.preannotation.outcome import BulkTask, Outcome, outcome_of
from sam_backend.preannotation.preannotator import FetchedTask, Page
from sam_backend.preannotation.provenance import model_version
from sam_backend.protocol.labeling_config import LabelingConfig
from sam_backend.runs.ledger import SKIPPED, WRITTEN
from sam_backend.runs.rate import RateMeter
from sam_backend.runs.run_store import Run
from sam_backend.runs.task_source import TaskSource
from sam_backend.segmenter.limited_segmenter import LimitedSegmenter
from sam_backend.settings import Settings
from sam_model.interfaces import Segmenter
from sam_model.weights.store import WeightStore

RECORD_EVERY_S = 1.0  # outcomes of this time are one transaction
NO_FOLDER = "SAM_EMBEDDINGS_DIR is not set: set it to a folder for the embeddings, in the backend and for this command"


class ImageStore(Protocol):
    """Computes something from images and keeps it. Threads may share it."""

    stored: str  # what is kept, for the counts of a run

    def has(self, digest: str) -> bool:
        """Return whether an image needs no work; `digest` is the SHA-256 of its file, in hexadecimal."""

    def add(self, digest: str, data: bytes, max_pixels: int, name: str) -> None:
        """Compute and keep what is missing of an image file; `name` is for messages."""

    def message(self, images: int) -> str:
        """Return what to tell people after a run over so many tasks; empty if there is nothing."""


class StoredEmbeddings:
    """Embeddings of a segmenter in a folder."""

    stored = "embeddings"

    def __init__(self, folder: EmbeddingFolder, segmenter: Segmenter[Any]) -> None:
        self._folder, self._segmenter = folder, segmenter
        self._embeddings = ImageEmbeddings(segmenter, folder=folder)

    def has(self, digest: str) -> bool:
        """Return whether the folder has the embedding, and note that it is used."""
        return self._folder.refresh(digest, self._segmenter.fingerprint)

    def add(self, digest: str, data: bytes, max_pixels: int, name: str) -> None:
        """Embed an image."""
        self._embeddings.get(digest, lambda: decode_for_embedding(data, self._segmenter, max_pixels), name)

    def message(self, images: int) -> str:
        """Return a warning if the folder was too small."""
        held = self._folder.statistics()
        if images <= held.files:
            return ""
        return (
            f"the folder is full: it holds {held.files} embeddings, the oldest of this run were removed; raise "
            "SAM_EMBEDDINGS_MIB to keep all"
        )


class StoredRegions:
    """The index of a project's regions, for the detector `exemplars`."""

    stored = "images"

    def __init__(self, source: RegionSource, embeddings: ImageEmbeddings) -> None:
        self._source, self._embeddings = source, embeddings

    def has(self, digest: str) -> bool:
        """Return whether the image is in the index."""
        return self._source.is_indexed(digest)

    def add(self, digest: str, data: bytes, max_pixels: int, name: str) -> None:
        """Propose and describe the regions of an image."""
        decoded = decode_image(data, max_pixels)
        self._source.regions_of(digest, decoded, lambda: self._embeddings.get(digest, lambda: decoded, name))

    def message(self, images: int) -> str:
        """Return nothing: the index is not bounded."""
        return ""


class ImageBuilder:
    """Stages of an executor: fetch a task's images, and store what is missing. Threads may share it."""

    def __init__(
        self,
        fetcher: Fetcher,
        images: ImageStore,
        config: LabelingConfig,
        project: int,
        credentials: ImageCredentials,
        max_pixels: int,
    ) -> None:
        self._fetcher, self._images = fetcher, images
        self._config, self._project, self._credentials = config, project, credentials
        self._max_pixels = max_pixels

    def fetch(self, task: BulkTask) -> FetchedTask | Outcome:
        """Fetch the task's images; the outcome has no labels if nothing is missing."""
        return outcome_of(task, lambda: self._fetched(task))

    def annotate(self, fetched: FetchedTask) -> Outcome:
        """Compute and store what is missing; the outcome's labels count the images."""
        return outcome_of(fetched.task, lambda: self._stored(fetched))

    def _fetched(self, task: BulkTask) -> FetchedTask | Outcome:
        given = self._credentials
        pages = []
        for address in self._config.image().sources(task.data):
            data = self._fetcher.fetch(address, task.id, self._project, given.login, given.password)
            digest = hashlib.sha256(data).hexdigest()
            if not self._images.has(digest):
                pages.append(Page(digest, data))
        return FetchedTask(task, tuple(pages), is_multi_page=False) if pages else Outcome(task.id)

    def _stored(self, fetched: FetchedTask) -> Outcome:
        name = f"task {fetched.task.id}"
        for page in fetched.pages:
            assert isinstance(page.content, bytes)  # as fetched
            self._images.add(page.digest, page.content, self._max_pixels, name)
        return Outcome(fetched.task.id, labels={self._images.stored: len(fetched.pages)})


def check_build(settings: Settings) -> None:
    """Refuse to compute what would not be stored.

    Raises:
        BadRequestError: no folder is set.
    """
    if settings.embeddings_dir is None:
        raise BadRequestError(f"could not embed the project: {NO_FOLDER}")


def build(
    run: Run,
    project: ProjectDetails,
    fetcher: Fetcher,
    *,
    api: LabelStudioClient,
    settings: Settings,
    store: WeightStore,
    retry_policy: RetryPolicy,
    is_stopping: Callable[[], bool],
) -> str:
    """Store what the run's purpose says, for all images of its tasks; return a message, empty if there is none.

    Raises:
        BadRequestError: there is no folder, the model's embeddings are not stored, or the descriptor is not installed.
        StoppedError: the run was told to stop.
        LabelStudioApiError: Label Studio refuses, or does not answer for too long.
    """
    check_build(settings)
    folder = embedding_folder(settings)
    assert folder is not None  # checked
    choice = segmenter_choice(run.configuration, settings, store)
    segmenter = choice.load(lambda progress: None)
    images: ImageStore
    if run.configuration.purpose == "regions":
        regions, key = region_source(run.configuration, segmenter, settings, store)
        images = StoredRegions(regions, ImageEmbeddings(segmenter, folder=folder))
    else:
        _check_is_stored(segmenter, choice.name)
        images, key = StoredEmbeddings(folder, segmenter), choice.version
    digest = hashlib.sha256(key.encode()).hexdigest()
    run.ledger.set_run(version=model_version(run.configuration.purpose, choice.name, digest))
    builder = ImageBuilder(
        fetcher,
        images,
        LabelingConfig.from_xml(project.labeling_config),
        project.id,
        ImageCredentials(project.task_login, project.task_password),
        settings.max_image_megapixels * 1_000_000,
    )
    source = TaskSource(api, run, "", retry_policy)
    rate, collected, record_at = RateMeter(run.ledger), [], time.monotonic() + RECORD_EVERY_S
    for outcome in LocalExecutor(builder, compute_threads=compute_threads(choice.name, settings)).run(
        source, is_stopping
    ):
        collected.append(outcome)
        if time.monotonic() >= record_at:
            _record(run, collected, rate)
            collected, record_at = [], time.monotonic() + RECORD_EVERY_S
    _record(run, collected, rate)
    if is_stopping():
        raise StoppedError
    counts = run.progress().counts
    return images.message(counts.written + counts.skipped)


def _check_is_stored(segmenter: Segmenter[Any], name: str) -> None:
    from sam_model.sam.segmenter import SamSegmenter  # imports PyTorch

    if not isinstance(segmenter.unlimited if isinstance(segmenter, LimitedSegmenter) else segmenter, SamSegmenter):
        raise BadRequestError(
            f"could not embed the project: embeddings of {name} are not stored, since computing one takes less time "
            "than reading it; choose a SAM model"
        )


def _record(run: Run, outcomes: list[Outcome], rate: RateMeter) -> None:
    failed = {one.task_id: one.error for one in outcomes if one.error is not None}
    if failed:
        run.ledger.fail(failed)
    succeeded = [one for one in outcomes if one.error is None]
    run.ledger.finish(WRITTEN, [one.task_id for one in succeeded if one.labels])
    run.ledger.finish(SKIPPED, [one.task_id for one in succeeded if not one.labels])
    rate.update(len(outcomes))
