"""The parts of the service, built from the settings."""

import logging
from dataclasses import dataclass
from typing import Any

from sam_backend.diagnostics.health_monitor import HealthMonitor
from sam_backend.diagnostics.readiness import Readiness
from sam_backend.diagnostics.startup_checks import check_device, check_folder, check_weights_folder
from sam_backend.embeddings.disk import embedding_folder
from sam_backend.embeddings.image_embeddings import ImageEmbeddings
from sam_backend.embeddings.memory import EmbeddingCache
from sam_backend.images.fetch import ImageFetcher, fetch_limits
from sam_backend.images.versions import ImageVersions
from sam_backend.interactive.click_log import ClickLog
from sam_backend.interactive.prefetch import Prefetcher
from sam_backend.interactive.task_predictor import TaskPredictor
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.segmenter.configured_models import choices_for_projects, default_choice
from sam_backend.segmenter.loading import ModelLoading
from sam_backend.segmenter.models import Models
from sam_backend.service.batch_predictions import BatchPredictions, preannotator_loader
from sam_backend.service.evaluations import Evaluations
from sam_backend.service.model_list import ModelList
from sam_backend.service.next_tasks import NextTasks
from sam_backend.service.previews import Previews
from sam_backend.service.project_list import ProjectList
from sam_backend.service.project_registry import ProjectRegistry
from sam_backend.service.runs import Runs
from sam_backend.service.word_predictions import WordPredictions
from sam_backend.settings import MIB, Settings
from sam_backend.shapes.polygon import polygon_style
from sam_model.images.budget import DECODING_MEMORY
from sam_model.interfaces import Segmenter
from sam_model.weights.store import WeightStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Service:
    """The parts that the routes call."""

    settings: Settings
    credentials: LabelStudioCredentials
    store: WeightStore
    models: Models
    model_list: ModelList
    cache: EmbeddingCache[Any]
    predictor: TaskPredictor
    prefetcher: Prefetcher
    next_tasks: NextTasks
    clicks: ClickLog
    projects: ProjectRegistry
    project_list: ProjectList
    runs: Runs
    previews: Previews
    evaluations: Evaluations
    batch_predictions: BatchPredictions
    word_predictions: WordPredictions
    health_monitor: HealthMonitor
    readiness: Readiness

    @property
    def model(self) -> ModelLoading:
        """Return the default model, which answers clicks now."""
        return self.models.default

    def start(self) -> None:
        """Start the threads, in the process that answers requests: threads do not survive a fork."""
        self.model.start()
        self.runs.start_supervisor()
        self.health_monitor.start()

    def close(self) -> None:
        """Stop the worker process of the runs; the next service continues its run."""
        self.runs.close()


def assemble(
    settings: Settings,
    store: WeightStore,
    *,
    model: ModelLoading | None = None,
    fetcher: ImageFetcher | None = None,
    cache: EmbeddingCache[Any] | None = None,
) -> Service:
    """Build the service; nothing is loaded and no thread runs before `Service.start`.

    Args:
        settings: of the service.
        store: the weights.
        model: answers clicks, in place of the one that the settings name.
        fetcher: fetches images, in place of one that follows the settings.
        cache: holds embeddings, in place of one of the settings' size.

    Raises:
        SettingsError: the model or the device does not exist, or a folder is not writable.
    """
    check_device(settings.device)
    DECODING_MEMORY.limit = settings.decode_memory_mib * MIB
    check_weights_folder(settings.weights_dir, is_offline=settings.offline)
    check_folder("SAM_RUNS_DIR", settings.runs_dir)
    check_folder("SAM_EMBEDDINGS_DIR", settings.embeddings_dir)
    credentials = LabelStudioCredentials(settings.label_studio_url, settings.label_studio_api_key)
    if model is None:
        model = ModelLoading(default_choice(settings, store))
    if fetcher is None:
        fetcher = ImageFetcher(credentials, fetch_limits(settings))
    if cache is None:
        cache = EmbeddingCache(settings.embedding_cache_mib * MIB)
    if model.name == "classical":
        logger.warning(
            "no SAM weights: the classical segmenter (superpixels and GrabCut) answers clicks, %s", model.version
        )
    else:
        logger.info("%s answers clicks", model.version)
    models = Models(
        model, choices_for_projects(settings, store), settings.models_mib * MIB, wait_s=settings.model_wait_s
    )
    folder = embedding_folder(settings)

    def embeddings(segmenter: Segmenter[Any]) -> ImageEmbeddings:
        return ImageEmbeddings(segmenter, cache, folder)

    predictor = TaskPredictor(
        images=ImageVersions(fetcher, settings.image_check_s),
        cache=cache,
        folder=folder,
        max_pixels=settings.max_image_megapixels * 1_000_000,
        polygon_style=polygon_style(settings),
        zooms=settings.zoom,
    )
    projects = ProjectRegistry(settings, models, store)
    runs = Runs(settings, credentials, projects)
    health_monitor = HealthMonitor(
        settings, credentials, models, store, lambda: len(projects) > 0, lambda: projects.problem
    )
    batch_predictions = BatchPredictions(
        settings,
        projects,
        preannotator_loader(settings, projects, store, fetcher, embeddings),
        runs.start_soon,
        runs.store_failure,
    )
    models.call_after_switch(batch_predictions.release_models)
    return Service(
        settings=settings,
        credentials=credentials,
        store=store,
        models=models,
        model_list=ModelList(settings, store, models),
        cache=cache,
        predictor=predictor,
        prefetcher=Prefetcher(),
        next_tasks=NextTasks(settings.prefetch_next if settings.prefetch else 0, credentials, predictor, cache),
        clicks=ClickLog(),
        projects=projects,
        project_list=ProjectList(credentials, projects),
        runs=runs,
        previews=Previews(settings, credentials, projects, store),
        evaluations=Evaluations(settings, credentials, runs),
        batch_predictions=batch_predictions,
        word_predictions=WordPredictions(settings, projects, store, fetcher, embeddings),
        health_monitor=health_monitor,
        readiness=Readiness(credentials, models, health_monitor),
    )
