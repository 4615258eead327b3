"""Health of the running service for the log, the page and `label-studio-sam doctor`: problems, each with a fix."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from sam_backend.diagnostics.label_studio_checks import PROJECT_CONNECTED, Check, check_label_studio
from sam_backend.diagnostics.startup_checks import is_writable
from sam_backend.label_studio.credentials import LabelStudioCredentials
from sam_backend.redaction import mask_userinfo
from sam_backend.runs.run_store import RunStore, RunStoreError, runs_folder
from sam_backend.runs.unreadable_runs import UnreadableRun
from sam_backend.segmenter.automatic_choice import best_weights
from sam_backend.segmenter.loading import ModelLoading
from sam_backend.segmenter.models import Models
from sam_backend.settings import Settings
from sam_model.weights.catalog import WeightFile, find_weights
from sam_model.weights.store import Presence, WeightStore

logger = logging.getLogger(__name__)

CHECK_AGAIN_S = 10.0
MAX_NAMED_RUNS = 3
FAILED_RUN_SHOWN_S = 86400.0
KEEP_OR_DELETE = (
    "their predictions are still in Label Studio, and a new run with the policy skip skips those tasks; delete the "
    "files in the subfolder `damaged` of SAM_RUNS_DIR, or restore them from a backup, to remove this message"
)


class HealthMonitor:
    """Check model, folders and Label Studio; Label Studio in a thread, so that no request waits for it."""

    def __init__(
        self,
        settings: Settings,
        credentials: LabelStudioCredentials,
        models: Models,
        store: WeightStore,
        is_connected: Callable[[], bool],
        extra_params_problem: Callable[[], str | None],
    ) -> None:
        """
        Args:
            settings: of the service.
            credentials: the Label Studio to check.
            models: the models that answer clicks.
            store: the weights.
            is_connected: whether a project is registered.
            extra_params_problem: why a project's extra parameters cannot be used; None if they can.
        """
        self._settings, self._credentials, self._models, self._store = settings, credentials, models, store
        self._is_connected, self._extra_params_problem = is_connected, extra_params_problem
        self._runs = RunStore(runs_folder(settings.runs_dir))
        self._last_result: tuple[Check, ...] = ()  # of Label Studio's checks
        self._check_again_at = 0.0
        self._thread: threading.Thread | None = None
        self._logged: set[str] = set()
        self._lock = threading.Lock()

    def start(self) -> None:
        """Check Label Studio in a thread, unless a check is running or recent; log each new problem once."""
        with self._lock:
            if time.monotonic() < self._check_again_at or (self._thread and self._thread.is_alive()):
                return
            self._thread = threading.Thread(target=self._run, name="health-check", daemon=True)
            self._thread.start()

    def checks(self) -> tuple[Check, ...]:
        """Return all checks at once, with Label Studio's last result; start a new check if that is old."""
        self.start()
        result = self._last_result
        if self._is_connected():  # a project may have been registered since the last check
            result = tuple(PROJECT_CONNECTED if check.name == PROJECT_CONNECTED.name else check for check in result)
        return (*self._own_checks(), *result)

    def label_studio_checks(self) -> tuple[Check, ...]:
        """Return Label Studio's last result at once; start a new check if that is old."""
        self.start()
        return self._last_result

    def check_now(self) -> tuple[Check, ...]:
        """Check everything and return the result; takes some seconds if Label Studio does not answer."""
        return (*self._own_checks(), *self._check_label_studio())

    def _run(self) -> None:
        try:
            self._last_result = self._check_label_studio()
        except Exception:  # the edge of a thread
            logger.exception("health check failed")
        self._check_again_at = time.monotonic() + CHECK_AGAIN_S
        for check in self._last_result:
            if not check.ok and check.problem not in self._logged:
                self._logged.add(check.problem)
                logger.warning("%s: %s. Next: %s", check.name, check.problem, check.next_step)

    def _check_label_studio(self) -> tuple[Check, ...]:
        return tuple(
            check_label_studio(self._credentials, self._models.version(), self._is_connected(), self._settings.detector)
        )

    def _own_checks(self) -> tuple[Check, ...]:
        checks = [check_model(self._settings, self._models.default, self._store), check_runs(self._runs)]
        failed = check_failed_run(self._runs)
        if failed is not None:
            checks.append(failed)
        if self._settings.embeddings_dir is not None:
            checks.append(check_embeddings(self._settings.embeddings_dir))
        problem = self._extra_params_problem()
        if problem is not None:
            next_step = "correct them in Label Studio: Settings > Model > Edit"
            checks.append(Check("Extra parameters", False, problem=problem, next_step=next_step))
        return tuple(checks)


def check_runs(runs: RunStore) -> Check:
    """Check that runs can be stored, and that all ledgers are readable; clicks do not need either."""
    problem = runs.problem()
    if problem:
        next_step = (
            "free space on that disk, or set SAM_RUNS_DIR to a folder that is writable for the backend's user and "
            "restart the backend"
        )
        return Check("Runs", False, problem=f"{problem}: no run can start or continue", next_step=next_step)
    try:
        unreadable = runs.unreadable()
    except RunStoreError as error:
        return Check("Runs", False, problem=str(error), next_step="set SAM_RUNS_DIR to another folder")
    if unreadable:
        return Check("Runs", False, problem=_describe(unreadable), next_step=KEEP_OR_DELETE)
    return Check("Runs", True, found="SAM_RUNS_DIR is writable, all runs are readable")


def check_failed_run(runs: RunStore) -> Check | None:
    """Return the newest run as a problem if it failed within the last `FAILED_RUN_SHOWN_S`; None otherwise.

    Label Studio does not show that a run, *Start Training* or *Retrieve Predictions* failed.
    """
    try:
        newest = next(iter(runs.runs()), None)
    except RunStoreError:  # `check_runs` reports it
        return None
    progress = None if newest is None else newest.progress()
    if progress is None or progress.state != "failed" or time.time() - progress.created_at > FAILED_RUN_SHOWN_S:
        return None
    project = progress.configuration.project
    return Check(
        "Last run",
        False,
        problem=f"run {progress.id} of project {project} failed: {progress.message}",
        next_step="solve the cause that the message names; the next run replaces this message",
    )


def _describe(unreadable: list[UnreadableRun]) -> str:
    named = "; ".join(f"run {run.id}: {run.cause}" for run in unreadable[:MAX_NAMED_RUNS])
    more = f"; and {len(unreadable) - MAX_NAMED_RUNS} more" if len(unreadable) > MAX_NAMED_RUNS else ""
    return f"could not read some runs: {named}{more}"


def check_embeddings(folder: Path) -> Check:
    """Check that embeddings can be stored on disk; clicks do not need that."""
    if is_writable(folder):
        return Check("Embeddings", True, found="SAM_EMBEDDINGS_DIR is writable")
    return Check(
        "Embeddings",
        False,
        problem="SAM_EMBEDDINGS_DIR is not writable: every image is embedded again after a restart",
        next_step="set it to a folder that is writable for the backend's user, or unset SAM_EMBEDDINGS_DIR",
    )


def check_model(settings: Settings, model: ModelLoading, store: WeightStore) -> Check:
    """Check that the model of the settings answers clicks, or is still loading."""
    if model.state == "failed":
        weights = _missing_weights(model.name, store) or _missing_weights(settings.model, store)
        if weights is None:
            next_step = (
                "mend what the message names; or choose another model on the page; or set SAM_MODEL to another one, or "
                "SAM_DEVICE=auto, and restart the backend"
            )
            return Check("Model", False, problem=model.problem or "", next_step=next_step)
        problem = f"could not load {model.name}: the weights file {weights.file} is missing; no click is answered"
        return Check("Model", False, problem=problem, next_step=_how_to_get(weights, store))
    if model.name == "classical" and model.reason:
        best = best_weights(settings)
        problem = f"no weights of {best.model}: the classical segmenter answers clicks, which is not a SAM model"
        return Check("Model", False, problem=problem, next_step=_how_to_get(best, store))
    why = f"; SAM_MODEL=auto chose {model.name}: {model.reason}" if model.reason else ""
    return Check("Model", True, found=f"{model.version}, {model.progress or model.state}{why}")


def _missing_weights(name: str, store: WeightStore) -> WeightFile | None:
    try:
        weights = find_weights(name)
    except ValueError:
        return None
    return weights if store.status(weights).presence in (Presence.MISSING, Presence.PARTIAL) else None


def _how_to_get(weights: WeightFile, store: WeightStore) -> str:
    return (
        f"run `label-studio-sam weights download {weights.model}` on the backend's machine, or download "
        f"{mask_userinfo(store.url(weights))} into the folder SAM_WEIGHTS_DIR; then choose the "
        "model on the page, or restart the backend"
    )
