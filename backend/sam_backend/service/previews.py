"""Previews of runs: some annotated tasks, or the label mapping; nothing is written."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TypeVar

from sam_backend.errors import BackendError, ModelNotReadyError
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.preannotation.configuration import RunConfiguration
from sam_backend.preannotation.label_mapping import MappingReport
from sam_backend.preannotation.loading import load_detector_of, mapping_of
from sam_backend.protocol.labeling_config import LabelingConfig
from sam_backend.runs.preview import Preview, preview_run
from sam_backend.runs.run_store import RunStateError
from sam_backend.service.project_lookup import find_project, read_label_studio
from sam_backend.service.project_registry import ProjectRegistry
from sam_backend.settings import Settings
from sam_model.weights.errors import WeightsError
from sam_model.weights.store import WeightStore

T = TypeVar("T")

PREVIEW_TIMEOUT_S = 60.0
WAIT_FOR_OTHER_S = 1.0  # for another preview to end
WAIT_FOR_MAPPING_S = 10.0  # for another mapping to end: the page asks for one after each change of its form


class PreviewTimeoutError(BackendError):
    """A preview takes too long."""

    status = 503


class OneAtATime:
    """Computations in threads, one after the other, each within a time limit."""

    def __init__(self, timeout_s: float, wait_for_other_s: float) -> None:
        self._timeout_s, self._wait_for_other_s = timeout_s, wait_for_other_s
        self._lock = threading.Lock()

    def compute(self, compute: Callable[[], T], subject: str) -> T:
        """Return the result of `compute`; after the timeout its thread continues, and the next one waits for it.

        Args:
            compute: what to compute.
            subject: what it is, for messages.

        Raises:
            RunStateError: another one takes longer than `wait_for_other_s`.
            PreviewTimeoutError: it takes longer than `timeout_s`.
            ModelNotReadyError: weights are missing.
        """
        if not self._lock.acquire(timeout=self._wait_for_other_s):
            raise RunStateError(f"could not compute {subject}: another one is being computed; try again later")
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(compute())
            except Exception as error:  # noqa: BLE001  # the edge of a thread: the caller raises it
                future.set_exception(error)
            finally:
                self._lock.release()

        threading.Thread(target=run, name="preview", daemon=True).start()
        try:
            return future.result(timeout=self._timeout_s)
        except FutureTimeoutError:
            raise PreviewTimeoutError(
                f"could not compute {subject} within {self._timeout_s:g} s: try fewer tasks, or try again later"
            ) from None
        except WeightsError as error:
            raise ModelNotReadyError(f"could not compute {subject}: {error}") from None


class Previews:
    """Compute one preview and one label mapping at a time; threads may share it."""

    def __init__(
        self,
        settings: Settings,
        credentials: LabelStudioCredentials,
        projects: ProjectRegistry,
        store: WeightStore,
    ) -> None:
        self._settings, self._credentials = settings, credentials
        self._projects, self._store = projects, store
        self._one_preview = OneAtATime(PREVIEW_TIMEOUT_S, WAIT_FOR_OTHER_S)
        self._one_mapping = OneAtATime(PREVIEW_TIMEOUT_S, WAIT_FOR_MAPPING_S)

    def mapping(self, configuration: RunConfiguration) -> tuple[MappingReport, int]:
        """Return how a project's labels get the detector's classes, and the project's number of tasks.

        Raises:
            BackendError: the project or the detector cannot be used, the weights are missing, another preview is
                being computed, or this one takes too long.
        """
        project = find_project(self._credentials, configuration.project)

        def compute() -> MappingReport:
            detector = load_detector_of(configuration, self._settings, self._store)
            return mapping_of(configuration, LabelingConfig.from_xml(project.labeling_config), detector).report

        return self._one_mapping.compute(compute, "the label mapping"), project.tasks

    def preview(self, configuration: RunConfiguration, tasks: int) -> Preview:
        """Annotate `tasks` tasks as the run would.

        Raises:
            BackendError: as `mapping`.
        """
        configuration = self._projects.resolved(configuration)

        def compute() -> Preview:
            return read_label_studio(
                self._credentials,
                lambda: preview_run(
                    configuration,
                    tasks,
                    settings=self._settings,
                    access=self._credentials,
                    store=self._store,
                    segmenter=self._projects.shared_segmenter(configuration),
                ),
                f"project {configuration.project}",
            )

        return self._one_preview.compute(compute, "the preview")
