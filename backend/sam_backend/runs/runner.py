"""Works on a run from wherever it stands to its end, a pause or a cancellation."""

import logging
import os
import threading
import time
from collections.abc import Callable

from sam_backend.errors import BackendError, BadRequestError
from sam_backend.images.fetch import ImageCredentials, ImageFetcher, fetch_limits
from sam_backend.label_studio.client import LabelStudioApiError, LabelStudioClient
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.label_studio.projects import show_predictions_of
from sam_backend.label_studio.retry_policy import RetryPolicy, StoppedError
from sam_backend.preannotation.loading import load_preannotator
from sam_backend.preannotation.local_executor import LocalExecutor
from sam_backend.preannotation.outcome import Executor
from sam_backend.preannotation.preannotator import Preannotator
from sam_backend.runs.ledger import LedgerDamagedError, LedgerUnavailableError
from sam_backend.runs.origin import RunElsewhereError, claim
from sam_backend.runs.prediction_writer import ConfigChangedError, PredictionWriter
from sam_backend.runs.progress import RunProgress
from sam_backend.runs.run_store import Run
from sam_backend.runs.task_source import TaskSource
from sam_backend.runs.undo import undo_run
from sam_backend.settings import Settings
from sam_model.weights.errors import WeightsError
from sam_model.weights.store import WeightStore

logger = logging.getLogger(__name__)

POLL_S = 0.2  # how soon a wish is seen
GRACE_S = 1.2  # for the stages to end by themselves after it
GIVE_UP_AFTER_S = 600.0  # without any answer of Label Studio; the run can be resumed then

Say = Callable[[str], None]
ExecutorFor = Callable[[Preannotator], Executor]


def work_on(
    run: Run,
    *,
    settings: Settings,
    access: LabelStudioCredentials,
    store: WeightStore,
    say: Say = logger.info,
    executor_for: ExecutorFor | None = None,
    give_up_after_s: float = GIVE_UP_AFTER_S,
) -> RunProgress:
    """Do what is wanted of the run (`run.wish`), and return when that is done or something else is wanted.

    A stage that is busy when the run is paused or cancelled is not waited for; its thread ends later and its result is
    dropped. `say` is told what a person should know.

    Raises:
        RunHeldError: another process works on it.
        RunElsewhereError: it belongs to another Label Studio or project; it stays as it is.
        LedgerDamagedError: the ledger is damaged; it is set aside.
        LedgerUnavailableError: the ledger cannot be written, such as on a full disk; the run is interrupted then, and
            goes on with the next call.
    """
    work = _Work(run, settings, access, store, say, executor_for, give_up_after_s)
    worker = threading.Thread(target=work.run_thread, name=f"run-{run.id}", daemon=True)
    worker.start()
    work.is_held.wait()
    if work.error is not None:
        worker.join()
        raise work.error
    while worker.is_alive():
        worker.join(POLL_S)
        if run.wish in ("pause", "cancel"):
            work.stopping.set()
            worker.join(GRACE_S)
            break
    if work.error is not None:
        raise work.error
    if work.stopping.is_set():
        with work.ending:
            work.is_abandoned = worker.is_alive()
            run.end("cancelled" if run.wish == "cancel" else "paused")
    return run.progress()


class _Work:
    """One attempt at a run, in a thread that can be left behind."""

    def __init__(
        self,
        run: Run,
        settings: Settings,
        access: LabelStudioCredentials,
        store: WeightStore,
        say: Say,
        executor_for: ExecutorFor | None,
        give_up_after_s: float,
    ) -> None:
        self.run, self.settings, self.access, self.store, self.say = run, settings, access, store, say
        self.executor_for = executor_for or self._executor
        self.stopping, self.is_held, self.ending = threading.Event(), threading.Event(), threading.Lock()
        self.error: BackendError | None = None
        self.is_abandoned = False
        self.api = LabelStudioClient(access)
        self.patience = RetryPolicy(self.stopping.is_set, give_up_after_s, say)

    def run_thread(self) -> None:
        """Hold the run, work, note how it ended."""
        try:
            with self.run.hold():
                wish = self.run.wish
                self.run.ledger.set_run(state="undoing" if wish == "undo" else "running", message="")
                self.is_held.set()
                self._end(*self._outcome(wish))
        except BackendError as error:  # another process holds it, or its ledger cannot be used
            self.error = error
        finally:
            self.is_held.set()

    def _end(self, state: str | None, message: str) -> None:
        with self.ending:
            if state is not None and not self.is_abandoned:
                self.run.end(state, message)

    def _outcome(self, wish: str) -> tuple[str | None, str]:
        """The state that the run ends in, and what people should know; no state where it was told to stop."""
        try:
            if wish == "undo":
                self._undo()
                return "undone", ""
            self._preannotate()
            return "finished", ""
        except StoppedError:
            return None, ""
        except (LedgerDamagedError, LedgerUnavailableError):  # the state cannot be noted either
            raise
        except RunElsewhereError as error:  # it stays as it is, for its own Label Studio
            self.run.ledger.set_run(message=str(error))
            raise
        except (BackendError, WeightsError, ConfigChangedError) as error:
            return "failed", str(error)
        except LabelStudioApiError as error:
            return "failed", self._explained(error)
        except Exception:  # the edge of a thread: the run must not stay "running" for ever
            logger.exception("run %s failed", self.run.id)
            return "failed", "internal error; the log tells more"

    def _explained(self, error: LabelStudioApiError) -> str:
        project = self.run.configuration.project
        if error.status in (401, 403):
            return f"{error}. {self.access.explain_refusal()}"
        if error.status == 404:
            return f"project {project} is not there, or this token's user may not see it ({error})"
        if error.is_transient:
            return f"Label Studio did not answer for too long; the run can be resumed ({error})"
        return str(error)

    def _undo(self) -> None:
        claim(self.run, self.api, self.access.url, self.patience)
        PredictionWriter(self.api, self.run, self.patience, self.stopping.is_set).settle()
        undo_run(self.run, self.api, self.patience, self.stopping.is_set)

    def _preannotate(self) -> None:
        run, configuration = self.run, self.run.configuration
        project = claim(run, self.api, self.access.url, self.patience)
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
        )
        run.ledger.set_run(version=preannotator.version)
        for line in preannotator.report.lines():
            self.say(line)
        writer = PredictionWriter(self.api, run, self.patience, self.stopping.is_set)
        writer.settle()
        source = TaskSource(self.api, run, preannotator.version, self.patience)
        writer.start()
        for outcome in self.executor_for(preannotator).run(source, self.stopping.is_set):
            writer.put(outcome)
        if self.stopping.is_set():
            raise StoppedError
        writer.finish()
        if configuration.show:
            self.patience.call(lambda: show_predictions_of(self.api, configuration.project, preannotator.version))

    def _executor(self, preannotator: Preannotator) -> Executor:
        if self.run.configuration.engine == "ray":
            return self._ray_executor(preannotator)
        segmenter = preannotator.version.rpartition("+")[2]  # PyTorch works with all cores by itself
        is_classical = segmenter.startswith("classical")
        return LocalExecutor(preannotator, compute_threads=(os.cpu_count() or 1) if is_classical else 1)

    def _ray_executor(self, preannotator: Preannotator) -> Executor:
        try:
            from sam_backend.preannotation.ray_executor import RayExecutor, WorkerOrder  # takes a moment to import
        except ImportError:
            raise BadRequestError("engine='ray' needs the package ray: pip install 'label-studio-sam[ray]'") from None
        told = self.access.child_environment()
        order = WorkerOrder(
            self.run.configuration,
            str(self.run.ledger.run()["labeling_config"]),
            self.run.id,
            self.settings,
            told.get("LABEL_STUDIO_URL"),
            told.get("LABEL_STUDIO_API_KEY"),
            preannotator.credentials,
        )
        return RayExecutor(order)
