"""Runs that write no predictions but store the embeddings of a project's images in SAM_EMBEDDINGS_DIR."""

import hashlib
import time
from collections.abc import Callable
from typing import Any

from sam_backend.embeddings.disk import EmbeddingFolder, embedding_folder
from sam_backend.embeddings.image_embeddings import ImageEmbeddings
from sam_backend.errors import BadRequestError
from sam_backend.images.decode import decode_image
from sam_backend.images.fetch import Fetcher, ImageCredentials
from sam_backend.label_studio.client import LabelStudioClient
from sam_backend.label_studio.projects import ProjectDetails
from sam_backend.label_studio.retry_policy import RetryPolicy, StoppedError
from sam_backend.preannotation.loading import segmenter_choice
from sam_backend.preannotation.local_executor import LocalExecutor
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


class EmbeddingBuilder:
    """Stages of an executor: fetch a task's images, and store the embeddings that are missing. Threads may share it."""

    def __init__(
        self,
        fetcher: Fetcher,
        folder: EmbeddingFolder,
        segmenter: Segmenter[Any],
        config: LabelingConfig,
        project: int,
        credentials: ImageCredentials,
        max_pixels: int,
    ) -> None:
        self._fetcher, self._folder, self._segmenter = fetcher, folder, segmenter
        self._embeddings = ImageEmbeddings(segmenter, folder=folder)
        self._config, self._project, self._credentials = config, project, credentials
        self._max_pixels = max_pixels

    def fetch(self, task: BulkTask) -> FetchedTask | Outcome:
        """Fetch the task's images; the outcome has no labels if all their embeddings are stored."""
        return outcome_of(task, lambda: self._fetched(task))

    def annotate(self, fetched: FetchedTask) -> Outcome:
        """Compute and store the missing embeddings; the outcome's labels count them."""
        return outcome_of(fetched.task, lambda: self._embedded(fetched))

    def _fetched(self, task: BulkTask) -> FetchedTask | Outcome:
        given = self._credentials
        pages = []
        for address in self._config.image().sources(task.data):
            data = self._fetcher.fetch(address, task.id, self._project, given.login, given.password)
            digest = hashlib.sha256(data).hexdigest()
            if not self._folder.refresh(digest, self._segmenter.fingerprint):
                pages.append(Page(digest, data))
        return FetchedTask(task, tuple(pages), is_multi_page=False) if pages else Outcome(task.id)

    def _embedded(self, fetched: FetchedTask) -> Outcome:
        name = f"task {fetched.task.id}"
        for page in fetched.pages:
            self._embeddings.get(page.digest, lambda data=page.content: self._decoded(data), name)  # type: ignore[misc]
        return Outcome(fetched.task.id, labels={"embeddings": len(fetched.pages)})

    def _decoded(self, data: Any) -> Any:
        return decode_image(data, self._max_pixels)


def check_embedding_run(settings: Settings) -> None:
    """Refuse to embed a project where nothing would be stored.

    Raises:
        BadRequestError: no folder is set.
    """
    if settings.embeddings_dir is None:
        raise BadRequestError(f"could not embed the project: {NO_FOLDER}")


def build_embeddings(
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
    """Store the embeddings of all images of the run's tasks; return a message for people, empty if there is none.

    Raises:
        BadRequestError: there is no folder, or the model's embeddings are not stored.
        StoppedError: the run was told to stop.
        LabelStudioApiError: Label Studio refuses, or does not answer for too long.
    """
    check_embedding_run(settings)
    folder = embedding_folder(settings)
    assert folder is not None  # checked
    choice = segmenter_choice(run.configuration, settings, store)
    segmenter = choice.load(lambda progress: None)
    _check_is_stored(segmenter, choice.name)
    run.ledger.set_run(
        version=model_version("embeddings", choice.name, hashlib.sha256(choice.version.encode()).hexdigest())
    )
    builder = EmbeddingBuilder(
        fetcher,
        folder,
        segmenter,
        LabelingConfig.from_xml(project.labeling_config),
        project.id,
        ImageCredentials(project.task_login, project.task_password),
        settings.max_image_megapixels * 1_000_000,
    )
    source = TaskSource(api, run, "", retry_policy)
    rate, collected, record_at = RateMeter(run.ledger), [], time.monotonic() + RECORD_EVERY_S
    for outcome in LocalExecutor(builder).run(source, is_stopping):
        collected.append(outcome)
        if time.monotonic() >= record_at:
            _record(run, collected, rate)
            collected, record_at = [], time.monotonic() + RECORD_EVERY_S
    _record(run, collected, rate)
    if is_stopping():
        raise StoppedError
    return _message(run, folder)


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


def _message(run: Run, folder: EmbeddingFolder) -> str:
    counts, held = run.progress().counts, folder.statistics()
    if counts.written + counts.skipped <= held.files:
        return ""
    return (
        f"the folder is full: it holds {held.files} embeddings, the oldest of this run were removed; raise "
        "SAM_EMBEDDINGS_MIB to keep all"
    )
