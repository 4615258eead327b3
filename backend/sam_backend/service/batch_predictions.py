"""Predictions for tasks without prompts: "Retrieve Predictions", and a task that is opened.

Label Studio waits 100 s for the whole batch and stores nothing before all items are there. The answer holds one item
per task; for `[]` Label Studio stores nothing. A run processes the tasks that are not ready before the deadline.

Source: label-studio 1.23.2, ml/models.py.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

import orjson

from sam_backend.embeddings.image_embeddings import ImageEmbeddings
from sam_backend.errors import BackendError, ModelNotReadyError
from sam_backend.images.fetch import Fetcher, ImageCredentials
from sam_backend.interactive.click_log import note_reason
from sam_backend.preannotation.calibration import calibration_of
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.preannotation.loading import load_preannotator
from sam_backend.preannotation.local_executor import LocalExecutor
from sam_backend.preannotation.outcome import BulkTask
from sam_backend.preannotation.preannotator import Preannotator
from sam_backend.preannotation.provenance import DIRECT
from sam_backend.protocol.labeling_config import LabelingConfig
from sam_backend.protocol.requests import Task
from sam_backend.runs.run_store import runs_folder
from sam_backend.service.default_preannotation import default_configuration
from sam_backend.service.loaded_cache import LoadedCache
from sam_backend.service.project_registry import ProjectRegistry
from sam_backend.settings import Settings
from sam_model.interfaces import Segmenter
from sam_model.weights.errors import WeightsError
from sam_model.weights.store import WeightStore

logger = logging.getLogger(__name__)

REPEATED_REQUEST_S = 5.0  # Label Studio sends two equal requests when a task is opened for the first time

OPENED_AFTER_SETUP_S = 5.0  # before it sends a task to be opened, Label Studio sends POST /setup

Answer = orjson.Fragment | list[Any] | dict[str, str]  # a prediction's JSON, an empty list, or a refusal
EmbeddingsOf = Callable[[Segmenter[Any]], ImageEmbeddings]
Load = Callable[[RunConfiguration, str, ImageCredentials], Preannotator]
StartSoon = Callable[[int, Sequence[int]], object]
StoreFailure = Callable[[int, str], object]


class BatchPredictions:
    """Predict the tasks of one batch at a time, each batch before a deadline; threads may share it."""

    def __init__(
        self,
        settings: Settings,
        projects: ProjectRegistry,
        load: Load,
        start_soon: StartSoon,
        store_failure: StoreFailure,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            settings: the deadlines.
            projects: the pre-annotation of each project.
            load: loads the pre-annotator of a configuration, a labeling config and image credentials.
            start_soon: starts a run for tasks of a project that were not ready in time.
            store_failure: notes in the list of runs why a project gets no predictions.
            clock: seconds.
        """
        self._settings, self._projects = settings, projects
        self._load, self._start_soon, self._store_failure, self._clock = load, start_soon, store_failure, clock
        self._preannotators: LoadedCache[Preannotator] = LoadedCache()
        self._is_predicting = threading.Lock()
        self._opened: dict[tuple[int, str], float] = {}  # (task, model version) -> when a request counts as new again
        self._lock = threading.Lock()

    def release_models(self) -> None:
        """Give up the loaded pre-annotators, and with them the segmenter that clicks no longer use."""
        self._preannotators.clear()

    def predict(
        self, tasks: Sequence[Task], labeling_config: str, credentials: ImageCredentials
    ) -> list[Answer] | None:
        """Return one item per task, in their order; None for an opened task of a project without pre-annotation.

        "Retrieve Predictions" and "Send Test Request" in such a project get the default pre-annotation, or a refusal.

        Raises:
            BackendError: the extra parameters or the labeling config cannot be used, or weights are missing.
        """
        project = tasks[0].project_id if tasks else None
        if project is None:
            return None
        is_single = len(tasks) == 1
        configuration = self._projects.configuration(project, tasks[0].project_created_s)
        if configuration is None:
            if not self._may_have_default(project, tasks):
                return None
            try:
                default = default_configuration(project, LabelingConfig.from_xml(labeling_config))
            except BackendError as error:
                return self._refusal(project, str(error), len(tasks))
            configuration, is_single = self._projects.resolved(default), False
        version = self._projects.version(configuration)
        timeout_s = self._settings.task_open_timeout_s if is_single else self._settings.batch_predict_timeout_s
        deadline = self._clock() + timeout_s
        is_test = len(tasks) == 1 and not is_single  # Label Studio stores no answer to it
        missing = [
            _bulk_task(task) for task in tasks if task.id is not None and (is_test or version not in task.versions)
        ]
        if is_single:
            missing = [task for task in missing if self._is_first_request(task.id, version, deadline)]
        found: dict[int, Answer] = {}
        if missing and self._is_predicting.acquire(timeout=timeout_s):
            try:
                found = self._predict_until(deadline, missing, configuration, version, labeling_config, credentials)
            except WeightsError as error:
                raise ModelNotReadyError(f"could not load the models of project {project}: {error}") from None
            finally:
                self._is_predicting.release()
        late = [task.id for task in missing if task.id not in found]
        if late and is_test:
            return [{"problem": f"no prediction within {timeout_s:g} s; try again"}]
        if late:
            logger.info(
                "project %d: %d of %d tasks were not ready within %g s; starting a run for them",
                project,
                len(late),
                len(tasks),
                timeout_s,
            )
            note_reason(f"{len(late)} tasks were not ready within {timeout_s:g} s: a run predicts them")
            self._start_soon(project, late)
        return [[] if task.id is None else found.get(task.id, []) for task in tasks]

    def _may_have_default(self, project: int, tasks: Sequence[Task]) -> bool:
        """Return whether the request is not from an opened task, which an annotator wants to begin without regions."""
        created_s = tasks[0].project_created_s
        is_opened = len(tasks) == 1 and self._projects.was_registered_within(OPENED_AFTER_SETUP_S, project, created_s)
        return self._projects.knows(project, created_s) and not is_opened

    def _refusal(self, project: int, reason: str, tasks: int) -> list[Answer]:
        """Note the reason, and return it as the item of a test request; other items are empty.

        Label Studio shows the answer to a test request as it is, and stores nothing for an item without `result`.
        """
        note_reason(reason)
        self._store_failure(project, reason)
        return [{"problem": reason}] if tasks == 1 else [[] for _ in range(tasks)]

    def _predict_until(
        self,
        deadline: float,
        tasks: Sequence[BulkTask],
        configuration: RunConfiguration,
        version: str,
        labeling_config: str,
        credentials: ImageCredentials,
    ) -> dict[int, Answer]:
        """Return the answers that are ready before the deadline, by task id.

        `version` is that of the models: other weights under the same name are loaded anew.
        """
        key = (version, orjson.dumps(configuration.to_json()), labeling_config, credentials)
        loading = self._preannotators.get(key, lambda: self._load(configuration, labeling_config, credentials))
        try:
            preannotator = loading.result(timeout=max(0.0, deadline - self._clock()))
        except FutureTimeoutError:
            return {}
        found: dict[int, Answer] = {}
        for outcome in LocalExecutor(preannotator).run(tasks, lambda: self._clock() > deadline):
            found[outcome.task_id] = [] if outcome.prediction is None else orjson.Fragment(outcome.prediction)
            if outcome.error is not None:
                logger.warning("task %d: %s", outcome.task_id, outcome.error)
                note_reason(f"task {outcome.task_id}: {outcome.error}")
        return found

    def _is_first_request(self, task: int, version: str, deadline: float) -> bool:
        """Return whether no equal request is being answered or was answered a moment ago; note this one."""
        now = self._clock()
        with self._lock:
            self._opened = {key: until for key, until in self._opened.items() if until > now}
            if (task, version) in self._opened:
                return False
            self._opened[task, version] = deadline + REPEATED_REQUEST_S
            return True


def preannotator_loader(
    settings: Settings, projects: ProjectRegistry, store: WeightStore, fetcher: Fetcher, embeddings: EmbeddingsOf
) -> Load:
    """Return the function that loads a pre-annotator; it shares segmenter and embeddings with the clicks."""

    def load(configuration: RunConfiguration, labeling_config: str, credentials: ImageCredentials) -> Preannotator:
        segmenter = projects.shared_segmenter(configuration)
        return load_preannotator(
            configuration,
            labeling_config,
            DIRECT,
            settings,
            store,
            fetcher,
            segmenter=segmenter,
            embeddings=None if segmenter is None else embeddings(segmenter),
            credentials=credentials,
            calibration=calibration_of(configuration.calibration, runs_folder(settings.runs_dir)),
        )

    return load


def _bulk_task(task: Task) -> BulkTask:
    assert task.id is not None
    return BulkTask(task.id, task.data)
