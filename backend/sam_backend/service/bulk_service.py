"""Bulk work of the running service: what its HTTP doors, its web page and Label Studio's own ways ask for."""

import hashlib
import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTimeError
from dataclasses import replace
from typing import Any, TypeVar

import orjson

from sam_backend.errors import BackendError, LabelStudioError
from sam_backend.interactive.task_predictor import Fetcher, ImageCredentials
from sam_backend.label_studio.client import LabelStudioApiError, LabelStudioClient
from sam_backend.label_studio.credentials import WAY_OUT, LabelStudioCredentials
from sam_backend.label_studio.projects import ProjectDetails, project_details
from sam_backend.preannotation.configuration import RunConfiguration, TaskFilter
from sam_backend.preannotation.label_mapping import MappingReport
from sam_backend.preannotation.loading import load_detector_of, load_preannotator, mapping_of
from sam_backend.preannotation.preannotator import Preannotator
from sam_backend.preannotation.provenance import DIRECT
from sam_backend.protocol.labeling_config import LabelingConfig
from sam_backend.protocol.requests import Task
from sam_backend.runs.origin import RunOrigin, installation_of
from sam_backend.runs.preview import Preview, preview_run
from sam_backend.runs.run_store import Run, RunStateError, RunStore, runs_folder
from sam_backend.runs.supervisor import RunSupervisor
from sam_backend.segmenter.loading import ModelLoading
from sam_backend.service.batch_predictions import Answer, BatchPredictions
from sam_backend.service.import_debouncer import ImportDebouncer
from sam_backend.service.project_list import ProjectList
from sam_backend.service.project_registry import ProjectRegistry, created_seconds
from sam_backend.settings import Settings
from sam_model.interfaces import Segmenter
from sam_model.weights.errors import WeightsError
from sam_model.weights.store import WeightStore

logger = logging.getLogger(__name__)
T = TypeVar("T")
PREVIEW_TIMEOUT_S = 60.0


class UnknownProjectError(BackendError):
    """Label Studio has no such project, or does not show it to us."""

    status = 404


class TemporarilyUnavailableError(BackendError):
    """It takes too long, or something for it is missing."""

    status = 503


class BulkService:
    """Runs, previews and direct answers; threads share it."""

    def __init__(
        self,
        settings: Settings,
        access: LabelStudioCredentials,
        model: ModelLoading,
        fetcher: Fetcher,
        store: WeightStore,
    ) -> None:
        self._settings, self._access, self._model = settings, access, model
        self._fetcher, self._store = fetcher, store
        folder = runs_folder(settings.runs_dir)
        self.runs = RunStore(folder)
        self.supervisor = RunSupervisor(folder, access, os.environ)
        self.projects = ProjectRegistry(settings, model, store)
        self.api = LabelStudioClient(access)
        self.view = ProjectList(access, self.projects)
        self._answers = BatchPredictions()
        self._imported = ImportDebouncer(self._start_for_tasks)
        self._looking = threading.Lock()

    def start(self, configuration: RunConfiguration) -> Run:
        """A new run, which begins when those before it have ended.

        Raises:
            BackendError: the project is not there or has an unfinished run, or a model is not there.
        """
        configuration = self.projects.resolved(configuration)
        self.projects.version(configuration)  # names what is not there
        project = self.project(configuration.project)
        LabelingConfig.from_xml(project.labeling_config).image()
        return self.supervisor.create(configuration, RunOrigin.of(self._access.url, project))

    def close(self) -> None:
        """The service ends: its worker does too, and waiting imports become runs."""
        self._imported.flush()
        self.supervisor.close()

    def project(self, number: int) -> ProjectDetails:
        """A project as Label Studio has it now.

        Raises:
            BackendError: no token, or Label Studio refuses, does not answer, or has no such project.
        """
        return self.asked(lambda: project_details(self.api, number), f"project {number}")

    def asked(self, call: Callable[[], T], what: str) -> T:
        """What Label Studio answers to a call about `what`.

        Raises:
            LabelStudioError: no token is known, or it refuses or does not answer.
            UnknownProjectError: it is not there.
        """
        if not self._access.is_known:
            raise LabelStudioError(f"{what} cannot be read: no token is known; {WAY_OUT}")
        try:
            return call()
        except LabelStudioApiError as error:
            if error.status == 404:
                raise UnknownProjectError(f"{what} is not there, or this token's user may not see it") from None
            more = f". {self._access.explain_refusal()}" if error.status in (401, 403) else ""
            raise LabelStudioError(f"{str(error).rstrip('.')}{more}") from None
        except (KeyError, TypeError, ValueError, AttributeError):  # JSON, but not Label Studio's
            raise LabelStudioError(f"{what} cannot be read: the answer is not Label Studio's") from None

    def mapping(self, configuration: RunConfiguration) -> tuple[MappingReport, int]:
        """What becomes of the detector's classes in a project, and how many tasks it has.

        Raises:
            BackendError: as `start`, or the detector's weights are missing or take long to come.
        """
        project = self.project(configuration.project)

        def look() -> MappingReport:
            detector = load_detector_of(configuration, self._settings, self._store)
            return mapping_of(configuration, LabelingConfig.from_xml(project.labeling_config), detector).report

        return self._one_at_a_time(look, "the label mapping"), project.tasks

    def preview(self, configuration: RunConfiguration, tasks: int) -> Preview:
        """A few tasks as they would become; writes nothing.

        Raises:
            BackendError: as `mapping`; or another preview is being made.
        """
        configuration = self.projects.resolved(configuration)
        what = f"project {configuration.project}"

        def look() -> Preview:
            return self.asked(
                lambda: preview_run(
                    configuration,
                    tasks,
                    settings=self._settings,
                    access=self._access,
                    store=self._store,
                    segmenter=self._own_segmenter(configuration),
                ),
                what,
            )

        return self._one_at_a_time(look, "the preview")

    def _one_at_a_time(self, look: Callable[[], T], what: str) -> T:
        """The result of `look`, which goes on in its thread where it takes too long: the next one waits for its end."""
        if not self._looking.acquire(timeout=1.0):
            raise RunStateError("another preview is being made; try again in a moment")
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(look())
            except Exception as error:  # noqa: BLE001  # the edge of a thread: who waits is told
                future.set_exception(error)
            finally:
                self._looking.release()

        threading.Thread(target=run, name="preview", daemon=True).start()
        try:
            return future.result(timeout=PREVIEW_TIMEOUT_S)
        except NotInTimeError:
            raise TemporarilyUnavailableError(
                f"{what} takes longer than {PREVIEW_TIMEOUT_S:g} s; try fewer tasks, or later"
            ) from None
        except WeightsError as error:
            raise TemporarilyUnavailableError(str(error)) from None

    def answer(self, tasks: Sequence[Task], labeling_config: str, credentials: ImageCredentials) -> list[Answer] | None:
        """Predictions for tasks without prompts; None where their project is not to be pre-annotated.

        Raises:
            BackendError: the plan or the labeling config cannot be used, or weights are missing.
        """
        project = tasks[0].project_id if tasks else None
        plan = self.projects.configuration(project, tasks[0].project_created_s) if project is not None else None
        if plan is None or project is None:
            return None
        limit_s = self._settings.task_open_timeout_s if len(tasks) == 1 else self._settings.batch_predict_timeout_s
        words = f"{plan.to_json()}\0{labeling_config}\0{credentials}"
        try:
            answers, late = self._answers.answer(
                tasks,
                self.projects.version(plan),
                hashlib.sha256(words.encode()).hexdigest(),
                lambda: self._preannotator(plan, labeling_config, credentials),
                limit_s,
            )
        except WeightsError as error:
            raise TemporarilyUnavailableError(str(error)) from None
        if late:
            logger.info("%d of %d tasks are not ready within %g s: a run does them", len(late), len(tasks), limit_s)
            self._imported.add(project, late)
        return answers

    def _preannotator(
        self, plan: RunConfiguration, labeling_config: str, credentials: ImageCredentials
    ) -> Preannotator:
        return load_preannotator(
            plan,
            labeling_config,
            DIRECT,
            self._settings,
            self._store,
            self._fetcher,
            segmenter=self._own_segmenter(plan),
            credentials=credentials,
        )

    def _own_segmenter(self, configuration: RunConfiguration) -> Segmenter[Any] | None:
        """The segmenter that answers clicks, where a configuration names it: it is loaded once."""
        if not self.projects.takes_own_model(configuration):
            return None
        return self._model.segmenter(self._settings.model_wait_s)

    def start_training(self, project: int) -> None:
        """The run that the model's extra parameters describe, begun in a thread: Label Studio waits for the answer."""
        threading.Thread(target=self._start_plan, args=(project,), name="start-training", daemon=True).start()

    def tasks_created(self, project: int, ids: Sequence[int]) -> None:
        """Imported tasks; a run for them where the settings want that."""
        if self._settings.preannotate_on_import and ids:
            self._imported.add(project, ids)

    def _start_plan(self, project: int) -> None:
        try:
            self.start(self._plan(project))
        except RunStateError as error:
            logger.warning("project %d: %s", project, error)
        except BackendError as error:
            self._note_failure(project, str(error))

    def _start_for_tasks(self, project: int, ids: tuple[int, ...]) -> None:
        try:
            plan = replace(self._plan(project), filter=TaskFilter(ids=ids))
            self.supervisor.create(plan, self._origin(project), beside_others=True)
        except BackendError as error:
            logger.error("%d tasks of project %d are not pre-annotated: %s", len(ids), project, error)

    def _plan(self, project: int) -> RunConfiguration:
        """What a project wants; the usual run where it does not say."""
        created_s = created_seconds(self.project(project).created_at)
        if not self.projects.knows(project, created_s):
            self._ask_for_extra_params(project, created_s)
        return self.projects.configuration(project, created_s) or self.projects.resolved(RunConfiguration(project))

    def _origin(self, project: int) -> RunOrigin:
        """A project of which nothing else is known yet: the run's worker asks."""
        return RunOrigin(installation_of(self._access.url), project)

    def _ask_for_extra_params(self, project: int, created_s: int | None) -> None:
        """As Label Studio keeps them with the connected models; it asks those for their health before it answers."""
        found = self.asked(lambda: self.api.call("GET", "/api/ml/", query={"project": project}), f"project {project}")
        if not self.projects.knows(project, created_s):  # POST /setup came meanwhile, where the model is ours
            said = [item.get("extra_params") for item in found]
            found_params = next((each for each in said if each), None)
            self.projects.learn(project, None if found_params is None else orjson.dumps(found_params), created_s)

    def _note_failure(self, project: int, reason: str) -> None:
        """Label Studio shows nobody an error, so the list of runs does."""
        logger.error("project %d cannot be pre-annotated: %s", project, reason)
        try:
            self.runs.create(RunConfiguration(project), self._origin(project)).end("failed", reason)
        except BackendError as error:
            logger.error("nor can that be noted: %s", error)
