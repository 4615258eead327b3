"""Settings -> the parts of the service, put together; the only place that chooses."""

import logging
from dataclasses import dataclass
from typing import Any

from sam_backend.diagnostics.health_monitor import HealthMonitor
from sam_backend.diagnostics.readiness import Readiness
from sam_backend.diagnostics.startup_checks import check_device, check_folder
from sam_backend.embeddings.disk import EmbeddingFolder
from sam_backend.embeddings.memory import EmbeddingCache
from sam_backend.images.fetch import ImageFetcher, fetch_limits
from sam_backend.images.versions import ImageVersions
from sam_backend.interactive.prefetch import Prefetcher
from sam_backend.interactive.task_predictor import TaskPredictor
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.segmenter.choice import choose_model
from sam_backend.segmenter.loading import ModelLoading
from sam_backend.service.bulk_service import BulkService
from sam_backend.settings import MIB, Settings
from sam_model.images.budget import DECODING_MEMORY
from sam_model.weights.store import WeightStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Service:
    """The parts that the routes use."""

    settings: Settings
    access: LabelStudioCredentials
    model: ModelLoading
    cache: EmbeddingCache[Any]
    predictor: TaskPredictor
    prefetcher: Prefetcher
    bulk: BulkService
    health_monitor: HealthMonitor
    readiness: Readiness
    store: WeightStore

    def start(self) -> None:
        """Begin what goes on beside the requests; in the process that answers them, since threads survive no fork."""
        self.model.start()
        self.bulk.supervisor.start()
        self.health_monitor.start()


def assemble(settings: Settings, store: WeightStore) -> Service:
    """Build the service; nothing is loaded and no thread runs before `service.start()`.

    Raises:
        SettingsError: a model or a device that is not there, or a folder that cannot be written.
    """
    check_device(settings.device)
    DECODING_MEMORY.limit = settings.decode_memory_mib * MIB
    check_folder("SAM_RUNS_DIR", settings.runs_dir)
    check_folder("SAM_EMBEDDINGS_DIR", settings.embeddings_dir)
    access = LabelStudioCredentials(settings.label_studio_url, settings.label_studio_api_key)
    model = ModelLoading(choose_model(settings, store))
    cache: EmbeddingCache[Any] = EmbeddingCache(settings.embedding_cache_mib * MIB)
    fetcher = ImageFetcher(access, fetch_limits(settings))
    folder = settings.embeddings_dir
    files = None if folder is None else EmbeddingFolder(folder, settings.embeddings_mib * MIB)
    predictor = TaskPredictor(
        model=model,
        images=ImageVersions(fetcher, settings.image_check_s),
        cache=cache,
        max_pixels=settings.max_image_megapixels * 1_000_000,
        model_wait_s=settings.model_wait_s,
        files=files,
    )
    if model.name == "classical":
        logger.warning("no SAM: masks come from the classical segmenter (superpixels and GrabCut), %s", model.version)
    else:
        logger.info("masks come from %s", model.version)
    bulk = BulkService(settings, access, model, fetcher, store)
    health_monitor = HealthMonitor(
        settings, access, model, store, lambda: len(bulk.projects) > 0, lambda: bulk.projects.problem
    )
    readiness = Readiness(access, model, health_monitor)
    return Service(settings, access, model, cache, predictor, Prefetcher(), bulk, health_monitor, readiness, store)
