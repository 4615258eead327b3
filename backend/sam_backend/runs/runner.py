"""Work on a run, from its present state until it ends, is paused or is cancelled."""

import logging
import threading
import time
from collections.abc import Callable

from sam_backend.errors import BackendError, BadRequestError
from sam_backend.exemplars.reading import examples_reader
from sam_backend.images.fetch import ImageCredentials, ImageFetcher, fetch_limits
from sam_backend.label_studio.client import LabelStudioApiError, LabelStudioClient
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.label_studio.projects import show_predictions_of
from sam_backend.label_studio.retry_policy import RetryPolicy, StoppedError
from sam_backend.preannotation.calibration import calibration_of
from sam_backend.preannotation.loading import load_preannotator
from sam_backend.preannotation.local_executor import LocalExecutor, compute_threads
from sam_backend.preannotation.outcome import Executor
from sam_backend.preannotation.preannotator import Preannotator
from sam_backend.runs.image_builder import build
from sam_backend.runs.ledger import LedgerDamagedError, LedgerUnavailableError
from sam_backend.runs.origin import RunElsewhereError, claim
from sam_backend.runs.prediction_writer import ConfigChangedError, PredictionWriter
from sam_backend.runs.progress import RunProgress
from sam_backend.runs.review import remove_review
from sam_backend.runs.run_store import Run
from sam_backend.runs.task_source import TaskSource
from sam_backend.runs.undo import undo_run
from sam_backend.settings import Settings
from sam_model.weights.errors import WeightsError
from sam_model.weights.store import WeightStore

logger = logging.getLogger(__name__)

POLL_INTERVAL_S = 0.2  # for requested actions
STOP_TIMEOUT_S = 1.2  # for the stages to end after a pause or cancel was requested
GIVE_UP_AFTER_S = 600.0  # without an answer of Label Studio; the run can be resumed then

Notify = Callable[[str], None]
ExecutorFor = Callable[[Preannotator], Executor]


def work_on(
    run: Run,
    *,
    settings: Settings,
    access: LabelStudioCredentials,
    store: WeightStore,
    notify: Notify = logger.info,
    executor_for: ExecutorFor | None = None,
    give_up_after_s: float = GIVE_UP_AFTER_S,
) -> RunProgress:
    """Resume or undo a run, as `run.requested_action` says, until that is done or another action is requested.

    A stage that is busy when the run is paused or cancelled is abandoned: its thread ends later and its result is
    dropped. `notify` receives messages for people.

    Raises:
        RunLockedError: another process works on the run.
        RunElsewhereError: the run belongs to another Label Studio or project; it is unchanged.
        LedgerDamagedError: the ledger is damaged; it is set aside.
        LedgerUnavailableError: the ledger cannot be written, such as on a full disk; the run is interrupted and can be
            continued with another call.
    """
    work = _Work(run, settings, access, store, notify, executor_for, give_up_after_s)
    worker = threading.Thread(target=work.run_thread, name=f"run-{run.id}", daemon=True)
    worker.start()
    work.has_started.wait()
    if work.error is not None:
        worker.join()
        raise work.error
    while worker.is_alive():
        worker.join(POLL_INTERVAL_S)
        if run.requested_action in ("pause", "cancel"):
            work.stopping.set()
            worker.join(STOP_TIMEOUT_S)
            break
    if work.error is not None:
        raise work.error
    if work.stopping.is_set():
        with work.ending:
            work.is_abandoned = worker.is_alive()
            run.end("cancelled" if run.requested_action == "cancel" else "paused")
    return run.progress()


class _Work:
    """One attempt at a run, in a thread that can be abandoned."""

    def __init__(
        self,
        run: Run,
        settings: Settings,
        access: LabelStudioCredentials,
        store: WeightStore,
        notify: Notify,
        executor_for: ExecutorFor | None,
        give_up_after_s: float,
    ) -> None:
        self.run, self.settings, self.access, self.store, self.notify = run, settings, access, store, notify
        self.executor_for = executor_for or self._executor
        self.stopping, self.has_started, self.ending = threading.Event(), threading.Event(), threading.Lock()
        self.error: BackendError | None = None
        self.is_abandoned = False
        self.api = LabelStudioClient(access)
        self.retry_policy = RetryPolicy(self.stopping.is_set, give_up_after_s, notify)

    def run_thread(self) -> None:
        """Lock the run, work on it, and record how that ended."""
        try:
            with self.run.locked():
                action = self.run.requested_action
                self.run.ledger.set_run(state="undoing" if action == "undo" else "running", message="")
                self.has_started.set()
                self._end(*self._outcome(action))
        except BackendError as error:  # another process holds the lock, or the ledger cannot be used
            self.error = error
        finally:
            self.has_started.set()

    def _end(self, state: str | None, message: str) -> None:
        with self.ending:
            if state is not None and not self.is_abandoned:
                self.run.end(state, message)

    def _outcome(self, action: str) -> tuple[str | None, str]:
        """Work, and return the run's end state (None if it was told to stop) and a message for people."""
        try:
            if action == "undo":
                self._undo()
                return "undone", ""
            if self.run.configuration.purpose != "predictions":
                return "finished", self._build()
            return "finished", self._preannotate()
        except StoppedError:
            return None, ""
        except (LedgerDamagedError, LedgerUnavailableError):  # the state cannot be recorded either
            raise
        except RunElsewhereError as error:  # the run stays as it is, for its own Label Studio
            self.run.ledger.set_run(message=str(error))
            raise
        except (BackendError, WeightsError, ConfigChangedError) as error:
            return "failed", str(error)
        except LabelStudioApiError as error:
            return "failed", self._explained(error)
        except Exception:  # the thread's last resort: the run must not stay "running"
            logger.exception("run %s failed", self.run.id)
            return "failed", "internal error; see the log"

    def _explained(self, error: LabelStudioApiError) -> str:
        project = self.run.configuration.project
        if error.status in (401, 403):
            return f"{error}. {self.access.explain_refusal()}"
        if error.status == 404:
            return f"project {project} does not exist, or this token's user may not see it ({error})"
        if error.is_transient:
            return f"Label Studio did not answer for too long; the run can be resumed ({error})"
        return str(error)

    def _undo(self) -> None:
        claim(self.run, self.api, self.access.url, self.retry_policy)
        PredictionWriter(self.api, self.run, self.retry_policy, self.stopping.is_set).settle()
        undo_run(self.run, self.api, self.retry_policy, self.stopping.is_set)
        remove_review(self.run, self.api, self.retry_policy)

    def _build(self) -> str:
        """Store the embeddings or regions of the run's images; return a message for people."""
        project = claim(self.run, self.api, self.access.url, self.retry_policy)
        self.run.ledger.set_run(started_at=self.run.progress().started_at or time.time())
        return build(
            self.run,
            project,
            ImageFetcher(self.access, fetch_limits(self.settings)),
            api=self.api,
            settings=self.settings,
            store=self.store,
            retry_policy=self.retry_policy,
            is_stopping=self.stopping.is_set,
        )

    def _preannotate(self) -> str:
        """Write the predictions; return a message for people: the annotations with the examples, if there are any."""
        run, configuration = self.run, self.run.configuration
        project = claim(run, self.api, self.access.url, self.retry_policy)
        run.ledger.set_run(
            labeling_config=project.labeling_config,
            started_at=run.progress().started_at or time.time(),
        )
        preannotator = load_preannotator(
            configuration,
            project.labeling_config,
            run.id,
            self.settings,
            self.store,
            ImageFetcher(self.access, fetch_limits(self.settings)),
            credentials=ImageCredentials(project.task_login, project.task_password),
            examples=examples_reader(self.api, project.id, configuration.example_tasks, self.retry_policy),
            calibration=calibration_of(configuration.calibration, run.folder),
        )
        run.ledger.set_run(version=preannotator.version)
        used = "" if preannotator.examples is None else preannotator.examples.text()
        if used:
            self.notify(used)
        for line in preannotator.report.lines():
            self.notify(line)
        writer = PredictionWriter(self.api, run, self.retry_policy, self.stopping.is_set)
        writer.settle()
        source = TaskSource(self.api, run, preannotator.version, self.retry_policy)
        writer.start()
        for outcome in self.executor_for(preannotator).run(source, self.stopping.is_set):
            writer.put(outcome)
        if self.stopping.is_set():
            raise StoppedError
        writer.finish()
        if configuration.show or not project.model_version:  # else Label Studio's column of scores is empty
            self.retry_policy.call(lambda: show_predictions_of(self.api, configuration.project, preannotator.version))
        return used

    def _executor(self, preannotator: Preannotator) -> Executor:
        if self.run.configuration.engine == "ray":
            return self._ray_executor(preannotator)
        segmenter = preannotator.version.rpartition("+")[2]
        return LocalExecutor(preannotator, compute_threads=compute_threads(segmenter, self.settings))

    def _ray_executor(self, preannotator: Preannotator) -> Executor:
        try:
            from sam_backend.preannotation.ray_executor import RayExecutor, WorkerOrder  # slow to import
        except ImportError:
            raise BadRequestError("engine='ray' needs the package ray: pip install 'label-studio-sam[ray]'") from None
        variables = self.access.child_environment()
        order = WorkerOrder(
            self.run.configuration,
            str(self.run.ledger.run()["labeling_config"]),
            self.run.id,
            self.settings,
            variables.get("LABEL_STUDIO_URL"),
            variables.get("LABEL_STUDIO_API_KEY"),
            preannotator.credentials,
            preannotator.examples,
            calibration_of(self.run.configuration.calibration, self.run.folder),
        )
        return RayExecutor(order)
